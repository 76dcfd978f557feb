//! Generates the section COMMANDS of sasl-sso(8).

use clap::{Arg, Command};

use super::roff::{bold, italic, literal, prose};

/// Returns the descriptions of all commands and their arguments.
pub fn commands() -> String {
    let mut program = sso_cli::commands::command();
    program.build();
    let mut roff = String::new();
    for command in program.get_subcommands() {
        describe(command, &mut roff);
    }
    roff
}

/// Describes a command and its subcommands. Skips clap's `help`, which the synopsis mentions.
fn describe(command: &Command, roff: &mut String) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = command.get_bin_name().unwrap_or_default();
    roff.push_str(&format!(".SS \"{}\"\n", literal(name)));
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
        .collect();
    // A command with subcommands does nothing itself.
    if !command.has_subcommands() {
        let mut synopsis = bold(name);
        synopsis.push_str(&choices(command));
        for argument in &arguments {
            synopsis.push_str(&match argument.is_required_set() {
                true => format!("\n{}", usage(argument)),
                false if is_choice(command, argument) => continue,
                false => format!("\n[{}]", usage(argument)),
            });
        }
        roff.push_str(&format!("{synopsis}\n.PP\n"));
    }
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let paragraphs: Vec<String> = about.split("\n\n").map(prose).collect();
    roff.push_str(&paragraphs.join(".PP\n"));
    for argument in arguments {
        roff.push_str(&format!(".TP\n{}\n", usage(argument)));
        roff.push_str(&prose(&meaning(argument)));
    }
    if let Some(after) = command.get_after_help() {
        roff.push_str(&format!(".PP\n{}", with_examples(&after.to_string())));
    }
    for subcommand in command.get_subcommands() {
        describe(subcommand, roff);
    }
}

/// Returns the groups of arguments of which one is required.
fn choices(command: &Command) -> String {
    let groups = command.get_groups().filter(|group| group.is_required_set());
    let alternatives = |group: &clap::ArgGroup| {
        let members = group.get_args();
        let found = members.filter_map(|id| command.get_arguments().find(|a| a.get_id() == id));
        let usages: Vec<String> = found.map(usage).collect();
        format!("\n{{{}}}", usages.join(" |\n"))
    };
    groups.map(alternatives).collect()
}

fn is_choice(command: &Command, argument: &Arg) -> bool {
    let mut groups = command.get_groups().filter(|group| group.is_required_set());
    groups.any(|group| group.get_args().any(|id| id == argument.get_id()))
}

/// Formats text in which indented lines are commands to type.
fn with_examples(text: &str) -> String {
    let mut roff = String::new();
    let mut is_example = false;
    for line in text.lines() {
        match line.strip_prefix("  ") {
            Some(typed) => {
                if !is_example {
                    roff.push_str(".PP\n.RS\n.EX\n");
                }
                is_example = true;
                roff.push_str(&format!("{}\n", literal(typed)));
            }
            None => {
                if is_example {
                    roff.push_str(".EE\n.RE\n");
                }
                is_example = false;
                roff.push_str(&prose(line));
            }
        }
    }
    if is_example {
        roff.push_str(".EE\n.RE\n");
    }
    roff
}

/// Returns the argument as it is typed.
fn usage(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let value = match values {
        [value, ..] if takes_value => Some(italic(value)),
        _ => None,
    };
    let short = argument.get_short().map(|short| bold(&format!("-{short}")));
    let long = argument.get_long().map(|long| bold(&format!("--{long}")));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    match (flags.is_empty(), value) {
        (true, value) => value.unwrap_or_default(),
        (false, Some(value)) => format!("{} {value}", flags.join(", ")),
        (false, None) => flags.join(", "),
    }
}

/// Returns the help, the possible values and the default of an argument.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value && !values.is_empty() {
        text.push_str(&format!(" ({})", values.join(", ")));
    }
    let shows_default = takes_value && !argument.is_hide_default_value_set();
    if let ([default], true) = (argument.get_default_values(), shows_default) {
        text.push_str(&format!(" [default: `{}`]", default.to_string_lossy()));
    }
    text
}
