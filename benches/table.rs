//! The table, in plain text.

use crate::measure::Series;
use crate::store::Size;

/// Which way is good.
#[derive(Clone, Copy)]
pub enum Better {
    /// Time and memory.
    Less,
    /// Logins a second.
    More,
}

/// One line: the plugin beside something else.
pub struct Row {
    what: String,
    unit: &'static str,
    plugin: Series,
    beside: String,
    other: Series,
    better: Better,
}

impl Row {
    /// `plugin`'s figures for `what` beside those of `other`, which is called `beside`.
    pub fn new(
        what: impl Into<String>,
        unit: &'static str,
        plugin: &Series,
        (beside, other): (impl Into<String>, &Series),
        better: Better,
    ) -> Self {
        Self {
            what: what.into(),
            unit,
            plugin: plugin.clone(),
            beside: beside.into(),
            other: other.clone(),
            better,
        }
    }

    fn ratio(&self) -> f64 {
        let (plugin, other) = (self.plugin.median(), self.other.median());
        match self.better {
            Better::Less => other / plugin,
            Better::More => plugin / other,
        }
    }
}

/// All of it, no wider than 100 columns.
pub fn text(rows: &[Row]) -> String {
    let mut text = line(["", "", "plugin", "", "other", "", "what that is"], "ratio");
    text.push_str(&"-".repeat(99));
    text.push('\n');
    for row in rows {
        let (plugin, other) = (in_words(&row.plugin), in_words(&row.other));
        let cells = [
            &row.what,
            row.unit,
            &plugin.0,
            &plugin.1,
            &other.0,
            &other.1,
            &row.beside,
        ];
        text.push_str(&line(cells, &number(row.ratio())));
    }
    text.push_str(NOTE);
    text
}

const NOTE: &str = "
Medians of rounds that took turns, and in parentheses the least and the greatest. The ratio says
how many times as good the plugin is: less time, less memory, more logins.
";

fn line([what, unit, plugin, range, other, other_range, beside]: [&str; 7], ratio: &str) -> String {
    format!(
        "{what:<29} {unit:<3} {plugin:>6} {range:<13} {other:>6} {other_range:<13} \
         {beside:<17} {ratio:>5}\n"
    )
}

fn in_words(series: &Series) -> (String, String) {
    let (least, greatest) = series.range();
    let range = format!("({}–{})", number(least), number(greatest));
    (number(series.median()), range)
}

/// What stores take, by the number of sessions in them.
pub fn sizes(sizes: &[Size]) -> String {
    let mut text =
        String::from("\n sessions   a process' own memory   pages of files   on the disk\n");
    for Size {
        sessions,
        own,
        mapped,
        disk,
    } in sizes
    {
        text.push_str(&format!(
            "{sessions:>9} {own:>20} kB {mapped:>13} kB {disk:>10} kB\n"
        ));
    }
    text
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    let decimals = match value {
        value if value < 1.0 => 2,
        value if value < 10.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
