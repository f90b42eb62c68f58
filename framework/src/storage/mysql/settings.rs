//! The server's settings, and which of them nobody should run on.

use std::collections::HashMap;

use sqlx::MySqlPool;

use crate::{Error, Result};

/// Settings by name; one that this server does not know is not there.
pub(super) struct Settings(HashMap<String, String>);

impl Settings {
    pub(super) async fn read(pool: &MySqlPool) -> Result<Self> {
        let rows: Vec<(String, String)> = sqlx::query_as(include_str!("sql/settings.sql"))
            .fetch_all(pool)
            .await
            .map_err(Error::database("read the server's settings"))?;
        Ok(Self(rows.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect()))
    }

    #[cfg(test)]
    pub(super) fn of(settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(settings.iter().map(owned).collect())
    }

    /// The value, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn on(&self, name: &str) -> bool {
        matches!(self.get(name).to_ascii_uppercase().as_str(), "ON" | "1" | "TRUE")
    }

    /// Whether it is a replica, or as good as one.
    pub(super) fn is_read_only(&self) -> bool {
        self.on("read_only") || self.on("super_read_only")
    }

    /// Refuses what loses committed messages, and what cannot give positions in one order.
    pub(super) fn check(&self) -> Result<()> {
        let remedy = "connect to the primary: positions are given out there";
        for setting in ["read_only", "super_read_only"] {
            if self.on(setting) {
                return Err(Error::Unfit { setting, found: "on".to_owned(), remedy });
            }
        }
        let remedy = "several nodes of a cluster may write, and none of them knows the order in \
                      which all commit: use one primary";
        if self.on("wsrep_on") {
            let found = "on".to_owned();
            return Err(Error::Unfit { setting: "wsrep_on", found, remedy });
        }
        let setting = "group_replication_single_primary_mode";
        if self.0.contains_key(setting) && !self.on(setting) {
            return Err(Error::Unfit { setting, found: "off".to_owned(), remedy });
        }
        self.check_durable()
    }

    fn check_durable(&self) -> Result<()> {
        let refuse = |setting, remedy| {
            let found = self.get(setting).to_owned();
            Err(Error::NotDurable { setting, found, remedy })
        };
        if self.get("innodb_flush_log_at_trx_commit") != "1" {
            return refuse(
                "innodb_flush_log_at_trx_commit",
                "set innodb_flush_log_at_trx_commit = 1",
            );
        }
        let doublewrite = self.get("innodb_doublewrite").to_ascii_uppercase();
        if matches!(doublewrite.as_str(), "OFF" | "0" | "FALSE" | "DETECT_ONLY") {
            return refuse("innodb_doublewrite", "set innodb_doublewrite = ON");
        }
        let flush = self.get("innodb_flush_method").to_ascii_lowercase();
        if matches!(flush.as_str(), "nosync" | "littlesync") {
            return refuse("innodb_flush_method", "set innodb_flush_method = O_DIRECT");
        }
        // With a binary log, what it lost is rolled back when the server starts again.
        if self.on("log_bin") && self.get("sync_binlog") != "1" {
            return refuse("sync_binlog", "set sync_binlog = 1, or switch the binary log off");
        }
        Ok(())
    }

    /// Whether the binary log takes statements, which it cannot for our transactions.
    pub(super) fn logs_statements(&self) -> bool {
        self.on("log_bin") && self.get("binlog_format").eq_ignore_ascii_case("STATEMENT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 6] = [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("innodb_doublewrite", "ON"),
        ("read_only", "OFF"),
        ("log_bin", "OFF"),
        ("sync_binlog", "0"),
        ("wsrep_on", "OFF"),
    ];

    fn refused(change: &[(&str, &str)]) -> String {
        let all: Vec<_> = GOOD.iter().chain(change).copied().collect();
        Settings::of(&all).check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn weaker_settings_replicas_and_clusters_with_several_primaries_are_refused() {
        assert_eq!(refused(&[]), "");
        assert_eq!(refused(&[("log_bin", "ON"), ("sync_binlog", "1")]), "");
        assert_eq!(refused(&[("group_replication_single_primary_mode", "ON")]), "");
        assert_eq!(refused(&[("innodb_doublewrite", "DETECT_AND_RECOVER")]), "");
        for (change, said) in [
            (vec![("innodb_flush_log_at_trx_commit", "2")], "trx_commit is 2"),
            (vec![("innodb_doublewrite", "OFF")], "innodb_doublewrite"),
            (vec![("innodb_doublewrite", "DETECT_ONLY")], "innodb_doublewrite"),
            (vec![("innodb_flush_method", "nosync")], "nosync"),
            (vec![("log_bin", "ON"), ("sync_binlog", "0")], "sync_binlog is 0"),
            (vec![("read_only", "ON")], "connect to the primary"),
            (vec![("super_read_only", "1")], "connect to the primary"),
            (vec![("wsrep_on", "ON")], "one primary"),
            (vec![("group_replication_single_primary_mode", "OFF")], "one primary"),
        ] {
            let refused = refused(&change);
            assert!(refused.contains(said), "{change:?}: {refused:?}");
        }
    }
}
