//! How a person moves a connection from state to state.

use super::{ConnectionError, Connections};
use crate::connection::{Connection, Start, StartFrom, State};

impl Connections {
    /// Enables a connection whose live lanes begin at `from`. What waited before that is passed over.
    ///
    /// # Errors
    /// [`ConnectionError::State`] when it is enabled: pause it first.
    pub async fn enable(&self, id: &str, from: StartFrom) -> Result<Connection, ConnectionError> {
        let _alone = self.changing.lock().await;
        let connection = self.store.connection(id).await?;
        if connection.state == State::Enabled {
            let message = format!(
                "connection `{}` is enabled: pause it first, to let it begin elsewhere",
                connection.name
            );
            return Err(ConnectionError::State(message));
        }
        let start = Start { from, asked_at: self.clock.now() };
        Ok(self.store.start_connection(id, start).await?)
    }

    /// Pauses a connection: its events wait. One that is paused stays so.
    ///
    /// # Errors
    /// [`ConnectionError::State`] when it was never enabled.
    pub async fn pause(&self, id: &str) -> Result<Connection, ConnectionError> {
        let from = [State::Enabled, State::Held, State::Disabled];
        let connection = self.store.set_state(id, &from, None, State::Paused, None, self.clock.now()).await?;
        if connection.state == State::Draft {
            return Err(never_enabled(&connection));
        }
        Ok(connection)
    }

    /// Lets a paused, held or disabled connection go on where it stopped. One that is enabled stays so.
    ///
    /// # Errors
    /// [`ConnectionError::State`] when it was never enabled.
    pub async fn resume(&self, id: &str) -> Result<Connection, ConnectionError> {
        let from = [State::Paused, State::Held, State::Disabled];
        let connection =
            self.store.set_state(id, &from, None, State::Enabled, None, self.clock.now()).await?;
        if connection.state == State::Draft {
            return Err(never_enabled(&connection));
        }
        Ok(connection)
    }
}

pub(super) fn never_enabled(connection: &Connection) -> ConnectionError {
    let message = format!("connection `{}` was never enabled: enable it and say from where", connection.name);
    ConnectionError::State(message)
}
