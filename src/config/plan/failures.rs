//! What is done about failures: retries, hedging, ejection, health checks.

use http::{Method, StatusCode};

use super::{
    super::data::{
        EjectionConfig, HealthCheckConfig, HedgeConfig, RetryBudgetConfig, RetryConfig, Switch,
    },
    client::limit,
    place::SettingPlace,
    policy::field_name,
};
use crate::{
    health::{Ejection, HealthCheck},
    retry::{Hedge, Retry, RetryBudget},
};

/// Returns which requests are sent again.
pub(super) fn retry(config: &RetryConfig, at: &SettingPlace<'_>) -> Retry {
    let mut retry = Retry::default();
    at.apply(&mut retry, "attempts", config.attempts, Retry::attempts);
    at.apply(
        &mut retry,
        "per_try_timeout",
        config.per_try_timeout,
        |retry, time| retry.per_try_timeout(limit(time)),
    );
    if let Some(size) = config.replay_limit {
        retry = retry.replay_limit(size.in_memory());
    }
    if let Some(config) = &config.budget {
        retry = retry.budget(budget(config, &at.key("budget")));
    }
    if let Some(statuses) = &config.statuses {
        let at = at.key("statuses");
        let statuses = statuses.iter().enumerate();
        let statuses: Vec<_> = statuses
            .filter_map(|(nth, status)| status_code(*status, 200, &at.item(nth)))
            .collect();
        retry = retry.statuses(statuses);
    }
    if let Some(Switch::On(name)) = &config.attempt_field {
        if let Some(name) = field_name(name, &at.key("attempt_field")) {
            retry = retry.attempt_field(name);
        }
    }
    retry
}

fn budget(config: &RetryBudgetConfig, at: &SettingPlace<'_>) -> RetryBudget {
    let mut budget = RetryBudget::new();
    at.apply(&mut budget, "ratio", config.ratio, RetryBudget::ratio);
    match config.per_second {
        Some(retries) => budget.per_second(retries),
        None => budget,
    }
}

/// Returns when a second endpoint is asked.
pub(super) fn hedge(config: &HedgeConfig, at: &SettingPlace<'_>) -> Option<Hedge> {
    match (config.after, config.percentile) {
        (Some(delay), None) => at.key("after").take(Hedge::after(delay.0)),
        (None, Some(share)) => at.key("percentile").take(Hedge::percentile(share)),
        _ => {
            at.refuse("expected either \"after\" or \"percentile\"");
            None
        }
    }
}

/// Returns when an endpoint is ejected.
pub(super) fn ejection(config: &EjectionConfig, at: &SettingPlace<'_>) -> Ejection {
    let mut ejection = Ejection::default();
    at.apply(
        &mut ejection,
        "consecutive_failures",
        config.consecutive_failures,
        Ejection::consecutive_failures,
    );
    at.apply(
        &mut ejection,
        "success_rate",
        config.success_rate,
        Ejection::success_rate,
    );
    if let Some(requests) = config.min_requests {
        ejection = ejection.min_requests(requests);
    }
    let backoff = config.backoff.as_ref().map(|backoff| {
        let time = |own: Option<_>, default| {
            own.map_or(default, |own: super::super::data::HumanDuration| own.0)
        };
        (
            time(backoff.base, std::time::Duration::from_secs(1)),
            time(backoff.max, std::time::Duration::from_secs(60)),
        )
    });
    at.apply(
        &mut ejection,
        "backoff",
        backoff,
        |ejection, (base, max)| ejection.backoff(base, max),
    );
    at.apply(
        &mut ejection,
        "max_ejected",
        config.max_ejected,
        Ejection::max_ejected,
    );
    ejection
}

/// Returns how endpoints are checked.
pub(super) fn health_check(
    config: &HealthCheckConfig,
    at: &SettingPlace<'_>,
) -> Option<HealthCheck> {
    let mut check = match (&config.http, config.tcp, &config.grpc) {
        (Some(path), false, None) => at.key("http").take(HealthCheck::http(path))?,
        (None, true, None) => HealthCheck::tcp(),
        (None, false, Some(service)) => at.key("grpc").take(HealthCheck::grpc(service))?,
        _ => {
            at.refuse("expected exactly one of \"http\", \"tcp = true\" and \"grpc\"");
            return None;
        }
    };
    let method = config.method.as_deref();
    let method = method.and_then(|method| request_method(method, &at.key("method")));
    at.apply(&mut check, "method", method, HealthCheck::method);
    at.apply(&mut check, "host", config.host.as_deref(), |check, host| {
        check.host(host)
    });
    at.apply(
        &mut check,
        "expect_status",
        config.expect_status.clone(),
        HealthCheck::expect_status,
    );
    at.apply(&mut check, "interval", config.interval, |check, time| {
        check.interval(time.0)
    });
    at.apply(&mut check, "timeout", config.timeout, |check, time| {
        check.timeout(time.0)
    });
    at.apply(
        &mut check,
        "unhealthy_after",
        config.unhealthy_after,
        HealthCheck::unhealthy_after,
    );
    at.apply(
        &mut check,
        "healthy_after",
        config.healthy_after,
        HealthCheck::healthy_after,
    );
    Some(match config.required_before_use {
        Some(true) => check.required_before_use(),
        _ => check,
    })
}

/// Returns a method.
pub(super) fn request_method(method: &str, at: &SettingPlace<'_>) -> Option<Method> {
    let parsed = method.parse::<Method>();
    let is_upper = !method.bytes().any(|byte| byte.is_ascii_lowercase());
    match parsed {
        Ok(method) if is_upper => Some(method),
        // RFC 9110 9.1: methods are case-sensitive.
        _ => {
            at.refuse(format!("expected a method, as \"GET\", found {method:?}"));
            None
        }
    }
}

/// Returns a status of a final response, from `least` on.
pub(super) fn status_code(status: u16, least: u16, at: &SettingPlace<'_>) -> Option<StatusCode> {
    let code = StatusCode::from_u16(status).ok();
    let code = code.filter(|_| (least..600).contains(&status));
    if code.is_none() {
        at.refuse(format!(
            "expected a status from {least} to 599, found {status}"
        ));
    }
    code
}
