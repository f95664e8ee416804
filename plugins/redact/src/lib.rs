//! Finds and masks personal data that follows a form, in texts and in JSON.
//!
//! Every finder is checked, bounded in how far it looks from one place, and therefore linear in the text. They run from
//! the most to the least specific, and what one has taken the next leaves alone: the digits of an IBAN are no card, those
//! of a card no phone number.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod card;
mod email;
mod iban;
mod ip;
mod json;
mod mask;
mod phone;
mod scan;

use opsiq_sdk::prelude::*;
use opsiq_sdk::serde_json::Value;

use crate::json::Finding;
use crate::mask::Mask;
use crate::scan::Finders;

opsiq_sdk::plugin!();

/// Findings that an answer lists, at most; the contract says so.
const LISTED: usize = 1000;

impl Actions for Plugin {
    fn find(_: &Context, params: FindParams) -> Result<FindResult> {
        let finders = Finders::of(params.kinds.as_deref());
        let (mut found, mut total) = (Vec::new(), 0);
        let mut note = |finding: Finding<'_>| {
            total += 1;
            if found.len() < LISTED {
                found.push(finding.told());
            }
        };
        match input(params.text, params.value)? {
            Input::Text(text) => json::each(&text, &finders, None, &mut note),
            Input::Value(value) => json::walk(&value, &finders, &mut note),
        }
        Ok(FindResult { found, total })
    }

    fn mask(_: &Context, params: MaskParams) -> Result<MaskResult> {
        let mut mask = Mask::new(params.style.unwrap_or(Style::Last4), Finders::of(params.kinds.as_deref()));
        let (text, value) = match input(params.text, params.value)? {
            Input::Text(text) => (Some(mask.text(&text)), None),
            Input::Value(value) => (None, Some(mask.value(value))),
        };
        Ok(MaskResult { total: mask.total(), text, value })
    }
}

/// What is looked through.
enum Input {
    Text(String),
    Value(Value),
}

fn input(text: Option<String>, value: Option<Value>) -> Result<Input> {
    match (text, value) {
        (Some(text), None) => Ok(Input::Text(text)),
        (None, Some(value)) => Ok(Input::Value(value)),
        (None, None) => Err(Failure::invalid("give `text` or `value`")),
        (Some(_), Some(_)) => Err(Failure::invalid("give `text` or `value`, not both")),
    }
}

#[cfg(test)]
mod tests;
