//! How much of what the endpoints of a cluster differ by is chance.

/// An endpoint with less weight of answers is left out: next to nothing is known of it.
const LEAST: f32 = 0.5;

/// Sums over the endpoints of a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    endpoints: f32,
    weight: f32,
    weight_squares: f32,
    means: f32,
    mean_squares: f32,
    within: f32,
}

/// Variances, in units of the squared mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variances {
    /// Of the answers of one endpoint.
    pub(super) within: f32,
    /// Of the endpoints' means, without what is chance. Less than 0 if they differ less than chance has it.
    pub(super) between: f32,
    /// The mean weight of the answers of an endpoint.
    pub(super) answers: f32,
}

impl Spread {
    /// Adds an endpoint whose answers have this mean, variance and weight.
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

    /// The variances, by an analysis of variance with unequal weights; `None` if there are too few answers.
    ///
    /// Answers that lose weight exponentially with their age are worth as many of full weight as twice their sum.
    pub(super) fn variances(&self) -> Option<Variances> {
        let freedom = self.weight - self.endpoints / 2.0;
        let unevenness = self.weight - self.weight_squares / self.weight;
        if self.endpoints < 2.0 || freedom <= 0.0 || unevenness <= 0.0 {
            return None;
        }
        let mean = self.means / self.weight;
        let within = self.within / freedom;
        let between = self.mean_squares - self.means * mean;
        let chance = within * (self.endpoints - 1.0) / 2.0;
        let square = mean * mean;
        Some(Variances {
            within: within / square,
            between: (between - chance) / unevenness / square,
            answers: self.weight / self.endpoints,
        })
    }
}
