//! How resources are printed. Pure but for the time now, which ages are counted from.

mod audit;
mod deletes;
mod events;
mod explain;
mod facts;
mod failures;
mod plan;
mod report;
mod resources;
mod setup;
pub(crate) mod text;

use comfy_table::Table;
use s3sync_proto::json::Resource;
use serde_json::Value;

pub(crate) use deletes::review_lines;
pub(crate) use explain::{explanation, probe};
pub(crate) use failures::{class, next_steps};
pub(crate) use plan::{difference, plan, plan_progress};
pub(crate) use report::report;
pub(crate) use resources::{progress_line, run_label, state as run_state};
pub(crate) use setup::queue_check;

use crate::args::Output;

/// Something that can be printed.
pub(crate) trait Show: Resource {
    /// What several of them are called.
    const PLURAL: &'static str;
    /// Column heads; those after the bar are for wide output.
    const COLUMNS: (&'static [&'static str], &'static [&'static str]);
    /// The cells of a row, all columns.
    fn row(&self) -> Vec<String>;
    /// A single one for people: label and value, a line each.
    fn details(&self) -> Vec<(String, String)>;
    /// As a document; by default the JSON form.
    fn document(&self) -> Value {
        self.to_json()
    }
}

/// A single resource.
pub(crate) fn one<T: Show>(item: &T, output: Output) -> String {
    match output {
        Output::Table | Output::Wide => details(&item.details()),
        Output::Json => pretty(&item.to_json()),
        Output::Jsonl => format!("{}\n", item.to_json()),
        Output::Yaml => yaml(&item.document()),
    }
}

/// A JSON value that stands for all there is to print. For people there is something better.
pub(crate) fn value(value: &Value, output: Output) -> String {
    match output {
        Output::Jsonl => format!("{value}\n"),
        Output::Yaml => yaml(value),
        Output::Json | Output::Table | Output::Wide => pretty(value),
    }
}

/// A list of resources.
pub(crate) fn many<T: Show>(items: &[T], output: Output) -> String {
    match output {
        Output::Table => table(items, false),
        Output::Wide => table(items, true),
        Output::Json => pretty(&Value::Array(items.iter().map(Resource::to_json).collect())),
        Output::Jsonl => items.iter().map(|item| format!("{}\n", item.to_json())).collect(),
        Output::Yaml => {
            let documents: Vec<_> = items.iter().map(|item| yaml(&item.document())).collect();
            documents.join("---\n")
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A resource as a document that can be applied.
pub(crate) fn document<T: Show>(item: &T) -> String {
    yaml(&item.document())
}

pub(crate) fn yaml(value: &Value) -> String {
    let mut text = serde_saphyr::to_string(value).expect("a JSON value has a YAML form");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn table<T: Show>(items: &[T], wide: bool) -> String {
    let (narrow, more) = T::COLUMNS;
    let mut heads: Vec<&str> = narrow.to_vec();
    if wide {
        heads.extend(more);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(heads.clone());
    for item in items {
        table.add_row(item.row().into_iter().take(heads.len()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn details(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (label, value) in lines {
        let gap = " ".repeat(width - label.chars().count());
        text.push_str(format!("{label}{gap}  {value}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
