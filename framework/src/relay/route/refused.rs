//! What a target does not take. A batch that it refuses is sent again in smaller ones, so that what
//! stands before the message that it does not take goes on, and that message is known by name.

use super::{
    super::{RouteState, status},
    Run,
};
use crate::{
    Storage,
    message::{Envelope, Position},
    transport::PublishError,
};

/// A message that was refused alone.
pub(super) struct Suspect {
    position: Position,
    error: String,
}

impl<DB: Storage> Run<'_, DB> {
    /// Takes in that a batch was refused.
    pub(super) async fn refused(&mut self, error: &PublishError, sent: &[Envelope]) {
        let (key, origin) = (&self.sender.key, &self.sender.carried.origin);
        match sent {
            [] => {
                let error = format!("{error}; it refuses an empty batch, too");
                self.stops_at(None, error).await;
            }
            // Is it the message, or does the target refuse everything? Or has the consumer been
            // told to skip it?
            [alone] => {
                let error = status::refused(error, alone, key, origin);
                self.suspect = Some(Suspect { position: alone.position, error });
                self.sender.most = Some(1);
                self.window.drain().await;
                self.read = self.acked;
            }
            more => {
                let (route, shard, messages) = (&key.route, key.shard, more.len());
                if self.sender.trouble.is_unsaid(&error.to_string()) {
                    tracing::warn!(route, shard, messages, %error, "a batch is sent in smaller ones");
                }
                self.sender.most = Some(1);
                self.window.drain().await;
                self.read = self.acked;
            }
        }
    }

    /// Asks the consumer where it is, when a message was refused alone.
    pub(super) fn ask_suspected(&mut self) -> bool {
        let asks = self.suspect.is_some() && self.window.is_empty();
        if asks {
            self.ask();
        }
        asks
    }

    /// The target takes an empty batch, and not this message.
    pub(super) async fn is_refused(&mut self, Suspect { position, error }: Suspect) {
        let (route, shard) = (&self.sender.key.route, self.sender.key.shard);
        if self.sender.trouble.is_unsaid(&error) {
            tracing::error!(
                route, shard, %position, error, "a message is refused, and the shard waits"
            );
        }
        self.stops_at(Some(position), error).await;
    }

    async fn stops_at(&mut self, position: Option<Position>, error: String) {
        self.window.drain().await;
        self.read = self.acked;
        self.unheard();
        let pause = self.sender.backoff.failed();
        self.sender.stands(RouteState::Refused { position, error }, pause).await;
        self.sender.pause(pause).await;
    }

    /// A batch was taken: larger ones are tried.
    pub(super) fn widen(&mut self) {
        let full = self.sender.shared.options.batch_messages;
        let wider = self.sender.most.map(|most| most.saturating_mul(2));
        self.sender.most = wider.filter(|most| *most < full);
    }
}
