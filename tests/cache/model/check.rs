//! Whether the cache may have given a client what it was given.

use http::{HeaderMap, StatusCode, header};

use super::{
    ask::{Ask, RangeOf},
    head::{About, Head},
    record::{Exchange, Record, content},
    rules::Stored,
};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    Broken,
    /// The client has left.
    Left,
}

/// What a client was given.
#[derive(Debug)]
pub struct Given {
    pub status: StatusCode,
    pub fields: HeaderMap,
    /// When it came.
    pub at: u64,
    pub text: String,
    pub trailers: Option<HeaderMap>,
    pub end: End,
}

/// Returns what is wrong with a response.
///
/// # Errors
///
/// Returns the rule that it breaks.
pub fn check(record: &mut Record, ask: &Ask, given: &Given) -> Result<(), String> {
    let number =
        |name: &str| -> Option<usize> { given.fields.get(name)?.to_str().ok()?.parse().ok() };
    let Some(update) = number("x-update").or(number("x-id")) else {
        // Of the cache itself.
        let is_own = given.status == 504 && ask.only_if_cached;
        return is_own
            .then_some(())
            .ok_or_else(|| format!("{} without a reason", given.status));
    };
    let newest = record.exchanges[update].clone();
    let expected = expected_hit(record, ask);
    let content = record.exchanges[newest.of].clone();
    let is_own = newest.client == ask.client;
    content_is_of_one(ask, given, &content, &newest)?;
    if is_own && number("x-id").is_none_or(|id| id == update) {
        expected.map_or(Ok(()), |id| {
            Err(format!("response {id} is fresh, and the origin was asked"))
        })?;
        return (given.end != End::Broken || newest.breaks)
            .then_some(())
            .ok_or("broke".into());
    }
    record.reused += 1;
    record.expected += usize::from(expected.is_some());
    let stored = Stored {
        record,
        content: &content,
        newest: &newest,
    };
    let forbidden = match is_own {
        // Validated for this request. What it says now is for later ones.
        true => None,
        false => stored.forbids_storing(),
    };
    let forbidden = forbidden.or_else(|| stored.forbids_request(ask));
    let forbidden = forbidden.or_else(|| match is_own {
        true => None,
        false => stored.forbids_unvalidated(ask, given.at),
    });
    if let Some(rule) = forbidden {
        return Err(rule.to_owned());
    }
    if is_own {
        return Ok(());
    }
    if newest.came < ask.began || given.fields.contains_key(header::AGE) {
        let least = stored.age(given.at) / 1000;
        let said: Option<u64> = number("age").and_then(|age| age.try_into().ok());
        if said.is_none_or(|said| said < least || said > least + 1) {
            return Err(format!(
                "RFC 9111 4: Age is {said:?}, and the response is {least} s old"
            ));
        }
    }
    fields_are_hidden(&stored, given)
}

/// RFC 9111 5.2.2.4 and 5.2.2.7: fields that a directive names.
fn fields_are_hidden(stored: &Stored<'_>, given: &Given) -> Result<(), String> {
    let hides = |head: &Head| {
        let directives = head.directives();
        [directives.no_cache, directives.private].contains(&About::Fields)
    };
    if !hides(&stored.newest.head) {
        return Ok(());
    }
    let shows =
        given.fields.contains_key("x-hidden") || given.fields.contains_key(header::SET_COOKIE);
    if shows {
        Err("RFC 9111 5.2.2.4: a field that no-cache or private names".into())
    } else {
        Ok(())
    }
}

/// Checks that what was given is the content of one response of the origin, or the part that was asked for.
fn content_is_of_one(
    ask: &Ask,
    given: &Given,
    of: &Exchange,
    newest: &Exchange,
) -> Result<(), String> {
    let whole = content(of.id, of.length);
    let is_whole = given.end == End::Complete;
    let status = given.status.as_u16();
    if status == 304 || ask.method == "HEAD" {
        let has_condition = ask.if_none_match.is_some() || ask.if_modified_since.is_some();
        if !given.text.is_empty() || status == 304 && !has_condition {
            return Err(
                "RFC 9110 15.4.5: a 304 is for a request with conditions, and has no content"
                    .into(),
            );
        }
        if let (304, Some(tag)) = (status, &ask.if_none_match) {
            let own = of.head.tag(of.id);
            let same =
                own.is_some_and(|own| own.trim_start_matches("W/") == tag.trim_start_matches("W/"));
            return same
                .then_some(())
                .ok_or("RFC 9110 13.1.2: the tag is another one".into());
        }
        return Ok(());
    }
    // The origin's own answer to this very request.
    let is_part_of_origin = newest.head.status == 206;
    let expected = match (status, ask.range) {
        (206, Some(_)) if is_part_of_origin => whole,
        (206, Some(range)) => part(&whole, range).ok_or("RFC 9110 14.2: no part was asked for")?,
        (416, Some(_)) => String::new(),
        _ if status != of.head.status => return Err(format!("the status is {status}")),
        _ => whole,
    };
    if !expected.starts_with(&given.text) || is_whole && !of.breaks && expected != given.text {
        return Err(format!("the content is not that of response {}", of.id));
    }
    if is_whole && of.breaks && newest.client != ask.client {
        return Err("RFC 9111 3.3: an incomplete response as if it was complete".into());
    }
    let trailers = given
        .trailers
        .as_ref()
        .and_then(|fields| fields.get("x-id")?.to_str().ok());
    if trailers.is_some_and(|id| id != of.id.to_string()) {
        return Err("trailers of another response".into());
    }
    let loses = of.has_trailers
        && trailers.is_none()
        && is_whole
        && !matches!(status, 206 | 416)
        && !of.breaks;
    if loses {
        Err("the trailers are lost".into())
    } else {
        Ok(())
    }
}

fn part(whole: &str, range: RangeOf) -> Option<String> {
    let part = match (range.first, range.last) {
        (Some(first), last) => {
            whole.get(first..last.map_or(whole.len(), |last| (last + 1).min(whole.len())))
        }
        (None, Some(last)) => whole.get(whole.len().saturating_sub(last)..),
        (None, None) => None,
    };
    part.map(str::to_owned)
}

/// Returns the response that any cache would answer by: it is fresh, whole and plain, and nothing has happened since.
fn expected_hit(record: &Record, ask: &Ask) -> Option<usize> {
    if !ask.is_plain() {
        return None;
    }
    let same_url = |one: &&Exchange| one.url == ask.url;
    let before: Vec<_> = record
        .exchanges
        .iter()
        .filter(same_url)
        .filter(|one| one.sent <= ask.began)
        .collect();
    let last = before.last()?;
    let asked = &record.asks[last.client];
    let is_whole = last.of == last.id && last.completed? < ask.began && asked.ended? < ask.began;
    let directives = last.head.control.clone()?;
    let is_plain = last.head.targeted.is_none()
        && last.head.malformed_target.is_none()
        && last.head.status == 200
        && !last.head.sets_cookie
        && !directives.second_max_age
        && (directives.max_age.is_some() || directives.s_maxage.is_some())
        && asked.is_plain()
        && asked.range.is_none();
    let others_done = before.iter().all(|one| {
        record.asks[one.client]
            .ended
            .is_some_and(|end| end < last.sent)
            || one.id == last.id
    });
    let stored = Stored {
        record,
        content: last,
        newest: last,
    };
    let gone = record
        .invalidations
        .iter()
        .any(|gone| gone.url.is_none_or(|url| url == ask.url) && gone.at >= last.sent);
    let is_fresh = stored.age(ask.began) + 1000 < stored.lifetime();
    let allowed = stored
        .forbids_storing()
        .or(stored.forbids_request(ask))
        .or(stored.forbids_unvalidated(ask, ask.began));
    (is_whole && is_plain && others_done && !gone && is_fresh && allowed.is_none())
        .then_some(last.id)
}
