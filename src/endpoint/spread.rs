//! How much of the difference between the endpoints of a cluster is chance.
//!
//! Latencies vary from answer to answer. So the means of several endpoints differ even if the endpoints are equal, and
//! the more so, the fewer answers there are. [`Spread`] separates the two by a one-way analysis of variance:
//!
//! - *within*: the variance of the answers of one endpoint, pooled over all;
//! - *between*: the variance of the endpoints' true means. It is the variance of the observed means, less what `within`
//!   alone would make them differ.
//!
//! [`norms`](super::norms) turns the ratio of the two into the weight of the cluster's median.

/// The least weight of answers with which an endpoint is included. The variance of less than that is meaningless: an
/// estimate from one answer has none.
const LEAST: f32 = 0.5;

/// The sums over the endpoints of a cluster that the variances are computed from, in one pass.
///
/// Means are in seconds. An endpoint's weight is the number of its recent answers, of which older ones count less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    /// The number of endpoints, `k`.
    endpoints: f32,
    /// `Σ w`
    weight: f32,
    /// `Σ w²`
    weight_squares: f32,
    /// `Σ w × mean`
    means: f32,
    /// `Σ w × mean²`
    mean_squares: f32,
    /// `Σ w × variance`
    within: f32,
}

/// The variances within and between endpoints, in units of the squared mean, so that they compare across clusters and
/// times of unlike latency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variances {
    /// The variance of the answers of one endpoint.
    pub(super) within: f32,
    /// The variance of the endpoints' means, without what is chance. It is negative if they differ by less than chance
    /// would make them.
    pub(super) between: f32,
    /// The mean weight of an endpoint's answers.
    pub(super) answers: f32,
}

impl Spread {
    /// Adds an endpoint whose answers have this mean, variance and weight. Ignores one of less than [`LEAST`].
    pub(super) fn add(&mut self, mean: f32, variance: f32, weight: f32) {
        if weight < LEAST {
            return;
        }
        self.endpoints += 1.0;
        self.weight += weight;
        self.weight_squares += weight * weight;
        self.means += weight * mean;
        self.mean_squares += weight * mean * mean;
        self.within += weight * variance;
    }

    /// Returns the variances, or `None` if there are fewer than two endpoints or too few answers.
    ///
    /// This is the method of moments for a one-way analysis of variance with groups of unequal size. The usual formulas
    /// are for answers of equal weight. Weights that decay exponentially with age have `Σ w² = (Σ w) / 2`, so answers
    /// of weight `w` in sum determine a mean as well as `2 w` equal ones: its variance is `within / (2 w)`. Each
    /// endpoint therefore costs half a degree of freedom rather than one.
    pub(super) fn variances(&self) -> Option<Variances> {
        let freedom = self.weight - self.endpoints / 2.0;
        let unevenness = self.weight - self.weight_squares / self.weight;
        if self.endpoints < 2.0 || freedom <= 0.0 || unevenness <= 0.0 {
            return None;
        }
        let mean = self.means / self.weight;
        // Each observed variance is about the endpoint's own mean, and so is too small by what that mean fits.
        let within = self.within / freedom;
        let between = self.mean_squares - self.means * mean;
        // What `between` would be on average if all endpoints were equal.
        let chance = within * (self.endpoints - 1.0) / 2.0;
        let square = mean * mean;
        Some(Variances {
            within: within / square,
            between: (between - chance) / unevenness / square,
            answers: self.weight / self.endpoints,
        })
    }
}
