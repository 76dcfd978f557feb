//! Loading the plugin, which every SASL program of the host does, beside the stock ones: each alone
//! in a new process (`load.c`), its file in the kernel's memory.

use crate::measure::Series;
use crate::table::{Better, Row};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use test_support::libsasl2::{compile, plugin};
use test_support::plugin_dir::stock_plugin_dir;
use test_support::scratch::Scratch;

const ROUNDS: usize = 21;

/// One plugin, in a directory of its own.
struct Loaded {
    name: String,
    directory: PathBuf,
    /// Microseconds of dlopen; kB that the process then has for itself; and of that, what was
    /// written to: the rest is only as long its own as no other process has the plugin loaded.
    figures: [Series; 3],
}

/// The rows of the table.
pub fn rows() -> Vec<Row> {
    let scratch = Scratch::new("bench-load");
    let program = compile(&scratch, "benches/load.c");
    let empty = scratch.create_dir("empty");
    let mut all: Vec<Loaded> = std::iter::once(plugin())
        .chain(stock_plugins())
        .map(|file| Loaded::new(&scratch, &file))
        .collect();
    // Pages of a file that was just written count as written to until they are on the disk.
    scratch.run("sync", scratch.command("sync"), "");
    for round in 0..=ROUNDS {
        for loaded in &mut all {
            let figures = loaded.measure(&scratch, &program, &empty);
            // The first round brings the files into the kernel's memory.
            if round > 0 {
                for (series, figure) in loaded.figures.iter_mut().zip(figures) {
                    series.push(figure);
                }
            }
        }
    }
    let ours = all.remove(0);
    all.sort_by(|one, other| one.memory().total_cmp(&other.memory()));
    let whats = [
        ("loading, warm", "µs"),
        ("private memory", "kB"),
        ("… of it written to", "kB"),
    ];
    let mut rows = Vec::new();
    for (index, (what, unit)) in whats.into_iter().enumerate() {
        for other in &all {
            let beside = (other.name.clone(), &other.figures[index]);
            rows.push(Row::new(
                what,
                unit,
                &ours.figures[index],
                beside,
                Better::Less,
            ));
        }
    }
    rows
}

impl Loaded {
    fn new(scratch: &Scratch, file: &Path) -> Self {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.expect("a plugin's name").to_owned();
        let directory = scratch.create_dir(format!("only-{name}"));
        symlink(file, directory.join(&name)).expect("a link to a plugin");
        Self {
            name,
            directory,
            figures: std::array::from_fn(|_| Series::default()),
        }
    }

    fn memory(&self) -> f64 {
        self.figures[1].median()
    }

    fn measure(&self, scratch: &Scratch, program: &Path, empty: &Path) -> [f64; 3] {
        let mut command = scratch.command(program);
        command.args([empty, &self.directory, &self.directory.join(&self.name)]);
        let output = scratch.run("load", command, "");
        let mut words = output.split_whitespace();
        let [time, memory, written] = std::array::from_fn(|_| {
            let figure = words.next().and_then(|word| word.parse::<f64>().ok());
            figure.unwrap_or_else(|| panic!("load: {output}"))
        });
        [time / 1e3, memory, written]
    }
}

/// The plugins of Debian's own packages that are installed.
fn stock_plugins() -> impl Iterator<Item = PathBuf> {
    let listing = std::fs::read_dir(stock_plugin_dir()).expect("the stock plugins");
    listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "so"))
        .filter(|file| !file.ends_with("libsso.so"))
}
