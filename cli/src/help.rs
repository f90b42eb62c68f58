//! Examples for every group of commands, and which command answers which symptom. Tests run each example's
//! command line through the parser.

/// From a symptom to a command.
pub(crate) const SYMPTOMS: &str = "\
What is wrong, and what to ask:
  something is wrong, and nobody knows what   syncline status
  may a service run on this database?         syncline doctor
  messages do not arrive                      syncline route list, then syncline outbox lag
  nobody reads a stream, or a pull fails      syncline status, at both services
  one user's data is not there                syncline trace KEY, at both services
  a handler fails                             syncline dead list, then syncline dead show ID
  a message waits for another                 syncline held list
  a saga hangs                                syncline saga list --stuck, --overdue or --failing
  one saga: which step, and why               syncline saga show ID or KEY
  an entity stays locked                      syncline lock list
  the database grows                          syncline outbox lag, then syncline outbox trim --dry-run
  is anybody running, with which version?     syncline process list
  a consumer must apply something again       syncline inbox list, then syncline inbox reapply
  a database was restored                     syncline stream rebase
  who has changed something here, and why?    syncline operations
  a new version is to be deployed             syncline migrate plan, syncline saga check
The shapes of all outputs: docs/commands.md; what to do about each: docs/operating.md";

pub(crate) const MIGRATE: &str = "\
Examples:
  syncline migrate status
  syncline migrate plan
  syncline migrate up";

pub(crate) const DOCTOR: &str = "\
Examples:
  syncline doctor
  syncline doctor --fail-if dead,stuck,gaps,stopped,lost,failing,locks --json";

pub(crate) const STATUS: &str = "\
Examples:
  syncline status
  syncline status --json";

pub(crate) const TRACE: &str = "\
Examples:
  syncline trace user-0977
  syncline trace user-0977 --from 80000 -n 10";

pub(crate) const ERASE: &str = "\
Examples:
  syncline erase user-0977 --why left --dry-run
  syncline erase user-0977 --why left";

pub(crate) const OUTBOX: &str = "\
Examples:
  syncline outbox lag
  syncline outbox lag --max-behind 10000 --json
  syncline outbox tail -n 5
  syncline outbox tail --key user-0977 --data
  syncline outbox tail --follow
  syncline outbox trim --dry-run";

pub(crate) const ROUTE: &str = "\
Examples:
  syncline route list
  syncline route pause login --why maintenance
  syncline route resume login
  syncline route rewind login --to 900";

pub(crate) const RELAY: &str = "\
Examples:
  syncline relay --config relay.toml --check
  syncline relay --config relay.toml
  syncline relay list";

pub(crate) const PROCESS: &str = "\
Examples:
  syncline process list
  syncline process list --kind consumer";

pub(crate) const STREAM: &str = "\
Examples:
  syncline stream list
  syncline stream show users
  syncline stream close users
  syncline stream rebase";

pub(crate) const DEAD: &str = "\
Examples:
  syncline dead list
  syncline dead show 17
  syncline dead redrive 17
  syncline dead redrive --topic user.* --consumer login
  syncline dead edit 17 --data fixed.json --redrive";

pub(crate) const HELD: &str = "\
Examples:
  syncline held list
  syncline held retry user-0977
  syncline held retry --all";

pub(crate) const INBOX: &str = "\
Examples:
  syncline inbox list
  syncline inbox list --consumer login
  syncline inbox reapply login --source /demo/register --stream users --to 900";

pub(crate) const SAGA: &str = "\
Examples:
  syncline saga list --stuck
  syncline saga show request-17
  syncline saga show 01920bf1
  syncline saga retry --failing --why mended
  syncline saga retry request-17 provision --why mended
  syncline saga check --have registration@2";

pub(crate) const LOCK: &str = "\
Examples:
  syncline lock list
  syncline lock release customer/1 --saga request-17 --why settled --yes";

pub(crate) const OPERATIONS: &str = "\
Examples:
  syncline operations
  syncline operations -n 10 --json";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Cli;

    const ALL: [&str; 15] = [
        MIGRATE, DOCTOR, STATUS, TRACE, OUTBOX, ROUTE, RELAY, PROCESS, STREAM, DEAD, HELD, INBOX,
        SAGA, LOCK, OPERATIONS,
    ];

    #[test]
    fn every_example_is_a_command_line_that_is_taken() {
        let examples = ALL.iter().flat_map(|examples| examples.lines()).map(str::trim);
        let mut found = 0;
        for example in examples.filter(|line| line.starts_with("syncline ")) {
            let words = example.split_whitespace();
            // Where the environment names nobody.
            let named = Cli::try_parse_from(words.clone());
            let named = named.or_else(|_| Cli::try_parse_from(words.chain(["--by", "ada"])));
            assert!(
                named.is_ok(),
                "{example}: {}",
                named.err().map(|e| e.to_string()).unwrap_or_default()
            );
            found += 1;
        }
        assert!(found >= 30, "{found}");
    }

    #[test]
    fn every_group_of_commands_has_examples() {
        for command in Cli::command().get_subcommands().filter(|one| one.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let own = format!("  syncline {}", command.get_name());
            assert!(help.starts_with("Examples:") && help.contains(&own), "{own}: {help}");
        }
    }

    #[test]
    fn every_symptom_leads_to_a_command_that_there_is() {
        let root = Cli::command();
        let mut commands = 0;
        for line in SYMPTOMS.lines().filter(|line| line.starts_with("  ")) {
            for words in line.split("syncline ").skip(1) {
                let mut command = &root;
                for word in words.split(|c: char| !c.is_ascii_lowercase()) {
                    if !command.has_subcommands() || word.is_empty() {
                        break;
                    }
                    let found = command.find_subcommand(word);
                    command = found.unwrap_or_else(|| panic!("no command {word:?}: {line}"));
                    commands += 1;
                }
            }
        }
        assert!(commands > 20, "{commands}");
        let mut root = root;
        let long = root.render_long_help().to_string();
        assert!(long.contains(SYMPTOMS) && long.contains("Exit codes:"), "{long}");
    }
}
