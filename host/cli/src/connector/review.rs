//! The permission list: what a plugin asks for in plain words, worst risk first.

use std::fmt::Write as _;

use opsiq_gate::InstallPlan;

use crate::text;

/// The list as a person reads it before saying yes. A filled box is granted, an empty one is withheld.
pub(crate) fn shown(plan: &InstallPlan) -> String {
    let mut list = format!("{} ({})\n", text::line(&plan.title), plan.plugin);
    if !plan.summary.is_empty() {
        let _ = writeln!(list, "{}", text::line(&plan.summary));
    }
    let _ = writeln!(list, "{}", plan.digest);
    list + &permissions(plan)
}

/// The permissions alone.
pub(crate) fn permissions(plan: &InstallPlan) -> String {
    let mut list = String::new();
    for note in &plan.notes {
        let _ = writeln!(list, "\n{}", text::line(note));
    }
    for group in &plan.groups {
        let _ = writeln!(list, "\n{}", text::line(&group.title));
        for ask in &group.asks {
            let mark = if ask.granted { 'x' } else { ' ' };
            let _ = writeln!(list, "  [{mark}] {}  {}", text::line(&ask.item), text::line(&ask.text));
            for detail in ask.detail.lines().filter(|detail| !detail.is_empty()) {
                let _ = writeln!(list, "      {}", text::line(detail));
            }
        }
    }
    if !plan.limits.is_empty() {
        let limits: Vec<_> = plan.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(list, "\nAt most, per call: {}", text::line(&limits.join(" · ")));
    }
    if !plan.needs_keys.is_empty() {
        let _ = writeln!(list, "\nTo be set before anything runs: {}", text::line(&plan.needs_keys.join(", ")));
    }
    list
}
