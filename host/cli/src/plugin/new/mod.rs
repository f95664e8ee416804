//! `opsiq plugin new`: a small plugin that works as it is, in the language of its author.
//!
//! Each template is a folder of files in which a few words are placeholders. What exists is never overwritten.

mod files;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use opsiq_contract::is_slug;
use serde_json::json;

use super::build::Language;
use super::types;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What to write and where.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name, which becomes its `id`: lower-case letters, digits and hyphens.
    name: String,

    /// The language to write it in.
    #[arg(long, value_enum)]
    lang: Language,

    /// What it does at first.
    #[arg(long, value_enum, default_value_t)]
    template: Template,

    /// The directory to make; by default one of the plugin's name, here.
    dir: Option<PathBuf>,
}

/// What a new plugin does at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Template {
    /// Greets, and looks a word up over HTTP.
    #[default]
    Hello,
    /// A read and a write of one outside system, with its address as config and its token as a key.
    Connector,
}

/// Writes the plugin and says what to do with it.
pub(crate) fn run(args: &NewArgs, out: &Output) -> Result<(), Failure> {
    if !is_slug(&args.name) {
        return Err(Failure::usage(format!("`{}` cannot be a plugin's name", args.name))
            .detail("a name is at most 63 lower-case letters, digits and hyphens, and begins with no hyphen")
            .fix("choose another name, such as my-shop"));
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = write(&dir, &args.name, args.lang, args.template)?;
    let data = json!({ "name": args.name, "language": args.lang.to_string(), "dir": dir, "files": files });
    out.data(&data, |_| {
        let made = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n");
        format!("{made}\n\nNext: opsiq plugin test {0}\n      opsiq plugin build {0}", dir.display())
    })
}

/// Writes every file of a template, with the types its editor wants. Nothing is written where anything is in the way.
fn write(dir: &Path, name: &str, language: Language, template: Template) -> Result<Vec<PathBuf>, Failure> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(Exit::Refused, "new.exists", format!("{} is not empty", dir.display()))
            .detail("a new plugin is written into a directory of its own, and overwrites nothing")
            .fix("name another directory"));
    }
    let mut files = Vec::new();
    for (path, text) in files::of(language, template) {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(|error| Failure::file("create", parent, &error))?;
        std::fs::write(&path, files::filled(text, name)).map_err(|error| Failure::file("write", &path, &error))?;
        files.push(path);
    }
    let contract = super::build::read_contract(dir)?;
    files.extend(types::write(dir, language, &contract)?);
    Ok(files)
}
