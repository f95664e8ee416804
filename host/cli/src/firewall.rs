//! `opsiq firewall`: which addresses may come. The operator's commands are about the host, an owner's, with --as TENANT/USER, about
//! the tenant. Each is asked of the process that has the data directory open, if there is one.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use opsiq_gate::{CheckView, FirewallChanged, RuleView, RulesPage};
use opsiq_shield::{ScoreView, Verdict};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::protocol::Ask;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{Table, time};

/// Networks of one request to a running host.
const AT_ONCE: usize = 1000;

/// What can be done about addresses.
#[derive(Debug, Subcommand)]
pub(crate) enum FirewallCommand {
    /// List the rules.
    List,
    /// Let networks come. Where one is allowed, no other but those may; a block wins.
    Allow(Put),
    /// Let nothing come from networks, whatever else is allowed.
    Block(Put),
    /// Remove the rules about exactly these networks.
    Remove {
        #[command(flatten)]
        networks: Networks,
        /// Even if the address this comes from would be refused from then on.
        #[arg(long)]
        force: bool,
    },
    /// Say whether an address may come, and which rule decides.
    Check {
        /// Which.
        address: String,
    },
    /// Show which networks have a score on this node, and for what. For the operator.
    Scores,
}

/// Which networks.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Networks {
    /// A network such as 192.0.2.0/24, or one address.
    networks: Vec<String>,
    /// A file with one on each line, - for standard input; what follows a # is passed over.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Rules to be placed.
#[derive(Debug, Args)]
pub(crate) struct Put {
    #[command(flatten)]
    networks: Networks,
    /// Why, as the list shows it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Even if the address this comes from would be refused from then on.
    #[arg(long)]
    force: bool,
}

impl Networks {
    fn read(self) -> Result<Vec<String>, Failure> {
        let Self { mut networks, file } = self;
        let Some(file) = file else { return Ok(networks) };
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text).map(drop)
        } else {
            std::fs::read_to_string(&file).map(|read| text = read)
        };
        read.map_err(|error| Failure::file("read", &file, &error))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        networks.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        Ok(networks)
    }
}

/// Runs one of them.
pub(crate) async fn run(command: FirewallCommand, session: &Session<'_>) -> Result<Exit, Failure> {
    let out = session.out;
    match command {
        FirewallCommand::List => {
            let (mut rules, mut after) = (Vec::new(), String::new());
            loop {
                let page: RulesPage = read(&session.control(Ask::FirewallList { after }).await?)?;
                rules.extend(page.rules);
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            out.data(&rules, |rules| rules_shown(rules))?;
        }
        FirewallCommand::Allow(put) => placed(put, Verdict::Allow, session).await?,
        FirewallCommand::Block(put) => placed(put, Verdict::Block, session).await?,
        FirewallCommand::Remove { networks, force } => {
            let ask = |networks| Ask::FirewallRemove { networks, force };
            changed(networks.read()?, "removed", ask, session).await?;
        }
        FirewallCommand::Check { address } => {
            let data = session.control(Ask::FirewallCheck { address }).await?;
            let check: CheckView = read(&data)?;
            out.data(&data, |_| check_shown(&check))?;
        }
        FirewallCommand::Scores => {
            let data = session.control(Ask::FirewallScores {}).await?;
            let scores: Vec<ScoreView> = read(&data)?;
            out.data(&data, |_| scores_shown(&scores))?;
        }
    }
    Ok(Exit::Done)
}

async fn placed(put: Put, verdict: Verdict, session: &Session<'_>) -> Result<(), Failure> {
    let Put { networks, note, force } = put;
    let ask = |networks| Ask::FirewallPut { verdict, networks, note: note.clone(), force };
    let word = match verdict {
        Verdict::Allow => "allowed",
        Verdict::Block => "blocked",
    };
    changed(networks.read()?, word, ask, session).await
}

/// Changes rules, so many at a time. Those of a time that is refused are not changed, and none after it.
async fn changed(
    networks: Vec<String>,
    word: &str,
    ask: impl Fn(Vec<String>) -> Ask,
    session: &Session<'_>,
) -> Result<(), Failure> {
    if networks.is_empty() {
        return Err(Failure::usage("which networks?").fix("name them, or a file that does"));
    }
    let (mut done, mut rules) = (Vec::new(), 0);
    for some in networks.chunks(AT_ONCE) {
        let made: FirewallChanged = read(&session.control(ask(some.to_vec())).await?)?;
        done.extend(made.networks);
        rules = made.rules;
    }
    let data = json!({ "networks": done, "rules": rules });
    session.out.data(&data, |_| {
        let what = if let [one] = done.as_slice() { one.clone() } else { format!("{} networks", done.len()) };
        format!("{what} {word}. The list has {rules} rules.")
    })
}

/// What the gate showed, whichever way it came.
pub(crate) fn read<T: DeserializeOwned>(data: &Value) -> Result<T, Failure> {
    T::deserialize(data).map_err(|error| Failure::internal("the host's answer is of another form", &error))
}

fn rules_shown(rules: &[RuleView]) -> String {
    let mut table = Table::new(["network", "verdict", "by", "placed", "note"]);
    for rule in rules {
        let (network, verdict) = (rule.network.clone(), rule.verdict.to_string());
        table.row([network, verdict, rule.by.clone(), time(rule.created_ms), rule.note.clone()]);
    }
    table.or("No rules: every address may come.")
}

fn check_shown(check: &CheckView) -> String {
    let may = if check.permitted { "may come" } else { "may not come" };
    let mut table = Table::new(["list", "says", "rule"]);
    for step in &check.steps {
        table.row([step.list.clone(), step.said.clone(), step.rule.clone().unwrap_or_default()]);
    }
    format!("{} {may}.\n\n{}", check.address, table.or(""))
}

fn scores_shown(scores: &[ScoreView]) -> String {
    let mut table = Table::new(["network", "points", "for"]);
    for score in scores {
        let reasons = score.reasons.iter().map(|part| format!("{} {}", part.signal.as_str(), part.points));
        table.row([score.network.clone(), score.points.to_string(), reasons.collect::<Vec<_>>().join(", ")]);
    }
    table.or("No network has a score.")
}
