//! When the results of checks open and shut an endpoint: a pure state machine.
//!
//! ```text
//!            a pass                  `unhealthy_after` failures in a row
//! Untried ───────────► Open ────────────────────────────────────────────► Shut
//!    │                   ▲                                                 ▲ │
//!    │                   └───── `healthy_after` passes in a row ───────────┼─┘
//!    └───────────────────── `unhealthy_after` failures in a row ───────────┘
//! ```
//!
//! The way back is shorter for an endpoint that has never passed: one pass is enough, as it is for one that has not
//! failed either. A result that does not continue the row begins the count again. What the server says of itself
//! unasked, by gRPC's `Watch`, needs no second opinion: it changes the state at once.

use std::num::NonZeroU32;

use super::{check::HealthCheck, failure::CheckFailure};

/// The state of one endpoint's checks.
#[derive(Debug)]
pub(crate) struct Thresholds {
    unhealthy_after: NonZeroU32,
    healthy_after: NonZeroU32,
    state: CheckState,
    /// Whether a check has ever passed.
    has_passed: bool,
    /// How many results in a row, up to the latest, would lead to another state.
    row: u32,
}

/// What the results so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckState {
    /// No check has passed yet, and too few have failed.
    Untried,
    /// The endpoint takes requests.
    Open,
    /// The endpoint should get no requests.
    Shut,
}

/// What a result changes.
#[derive(Debug)]
pub(crate) enum HealthChange {
    /// The endpoint has passed its first check.
    Passed,
    /// The endpoint was shut, and takes requests again.
    Recovered,
    /// The endpoint gets no requests from now on, for this reason.
    Shut(CheckFailure),
}

impl Thresholds {
    /// Returns the state of an endpoint that has not been checked.
    pub(crate) fn new(check: &HealthCheck) -> Self {
        Self {
            unhealthy_after: check.unhealthy_after,
            healthy_after: check.healthy_after,
            state: CheckState::Untried,
            has_passed: false,
            row: 0,
        }
    }

    /// Takes the result of a check. Returns what it changes, or `None` if nothing.
    ///
    /// A failure that this process is to blame for is no result.
    pub(crate) fn checked(&mut self, result: Result<(), CheckFailure>) -> Option<HealthChange> {
        let needed = match &result {
            Err(failure) if failure.is_ours() => return None,
            Err(_) => self.unhealthy_after.get(),
            Ok(()) if self.has_passed => self.healthy_after.get(),
            // As in Envoy, so that an endpoint that has just started is used soon.
            Ok(()) => 1,
        };
        if self.confirms(&result) {
            self.row = 0;
            return None;
        }
        self.row += 1;
        match self.row >= needed {
            true => self.change(result),
            false => None,
        }
    }

    /// Takes what the server says of itself, for which no threshold applies. Returns what it changes, or `None` if
    /// nothing.
    pub(crate) fn reported(&mut self, state: Result<(), CheckFailure>) -> Option<HealthChange> {
        match state {
            Err(failure) if failure.is_ours() => None,
            state if self.confirms(&state) => None,
            state => self.change(state),
        }
    }

    /// Returns whether a result says what is known already.
    fn confirms(&self, result: &Result<(), CheckFailure>) -> bool {
        match self.state {
            CheckState::Untried => false,
            CheckState::Open => result.is_ok(),
            CheckState::Shut => result.is_err(),
        }
    }

    /// Changes to the state that a result says.
    fn change(&mut self, result: Result<(), CheckFailure>) -> Option<HealthChange> {
        self.row = 0;
        self.has_passed |= result.is_ok();
        let (state, change) = match (result, self.state) {
            (Err(failure), _) => (CheckState::Shut, HealthChange::Shut(failure)),
            (Ok(()), CheckState::Untried) => (CheckState::Open, HealthChange::Passed),
            (Ok(()), _) => (CheckState::Open, HealthChange::Recovered),
        };
        self.state = state;
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::{Error, ErrorKind};

    fn thresholds(unhealthy_after: u32, healthy_after: u32) -> Thresholds {
        let check = HealthCheck::tcp().unhealthy_after(unhealthy_after);
        Thresholds::new(&check.unwrap().healthy_after(healthy_after).unwrap())
    }

    /// What each result changes, from the first on: `+` is a pass, `-` a failure, `?` a failure of this process; `P`,
    /// `R` and `S` are changes, `.` is none.
    fn changes(mut thresholds: Thresholds, results: &str) -> String {
        let results = results.chars().map(|result| match result {
            '+' => Ok(()),
            '-' => Err(CheckFailure::Status(StatusCode::SERVICE_UNAVAILABLE)),
            _ => Err(CheckFailure::Service(Error::new(ErrorKind::MaxConnections))),
        });
        let changes = results.map(|result| letter(thresholds.checked(result).as_ref()));
        changes.collect()
    }

    fn letter(change: Option<&HealthChange>) -> char {
        match change {
            None => '.',
            Some(HealthChange::Passed) => 'P',
            Some(HealthChange::Recovered) => 'R',
            Some(HealthChange::Shut(_)) => 'S',
        }
    }

    #[test]
    fn results_in_a_row_change_the_state() {
        for (unhealthy, healthy, results, expected) in [
            (2, 1, "++--+--", "P..SR.S"),
            (2, 1, "--", ".S"),
            (2, 1, "-+-+-+", ".P...."),
            (1, 1, "-+-", "SRS"),
            (3, 2, "+--+---", "P.....S"),
            (3, 2, "+---+-++", "P..S...R"),
            (2, 3, "+", "P"),
            (2, 3, "--+--+-++", ".SR.S...."),
            (2, 3, "+--+++", "P.S..R"),
            (2, 3, "-+", ".P"),
            (2, 1, "+----", "P.S.."),
        ] {
            let found = changes(thresholds(unhealthy, healthy), results);
            assert_eq!(found, expected, "{results} with {unhealthy} and {healthy}");
        }
    }

    #[test]
    fn what_this_process_lacks_is_no_result() {
        assert_eq!(changes(thresholds(2, 1), "+-?-"), "P..S");
        assert_eq!(changes(thresholds(1, 1), "????"), "....");
    }

    #[test]
    fn what_the_server_says_changes_the_state_at_once() {
        let mut thresholds = thresholds(5, 5);
        let not_serving = || Err(CheckFailure::NotServing("NOT_SERVING"));
        let mut say = |state| letter(thresholds.reported(state).as_ref());
        assert_eq!(say(Ok(())), 'P');
        assert_eq!(say(not_serving()), 'S');
        assert_eq!(say(not_serving()), '.');
        assert_eq!(say(Ok(())), 'R');
        assert_eq!(say(Ok(())), '.');
    }
}
