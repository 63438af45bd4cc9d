//! What a session needs of an MQTT protocol implementation: the server's side of one connection, without IO.
//!
//! One implementation stands in `protocol`; another can replace it without the session noticing.

use std::time::Duration;

/// Something that the client did. What the engine can answer alone (pings, protocol errors) it has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Connect(Connect),
    Publish(Publish),
    Subscribe(Subscribe),
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    /// The client said goodbye; with true it wants its last will published nevertheless.
    Disconnect {
        publish_will: bool,
    },
    /// Nothing that a session acts on.
    Other,
    /// The client broke the protocol; the output holds the answer to it, if there is one.
    Broken(String),
}

/// A CONNECT packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    /// MQTT 3.1.1: clean session; MQTT 5: clean start.
    pub(super) clean: bool,
    pub(super) user: Option<String>,
    pub(super) password: Vec<u8>,
    pub(super) keep_alive_s: u16,
    pub(super) will: Option<Will>,
    /// MQTT 5: an authentication method, which we do not have.
    pub(super) extended_authentication: bool,
    /// MQTT 5: the client asks that its session outlives the connection.
    pub(super) session_expiry: bool,
}

/// A last will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
}

/// The two versions of MQTT that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

/// A PUBLISH packet of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    /// Present above `QoS` 0.
    pub(super) packet_id: Option<u16>,
}

/// A SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscribe {
    pub(super) packet_id: u16,
    /// Filter and requested maximum `QoS`.
    pub(super) filters: Vec<(String, u8)>,
}

/// The answer to a CONNECT that is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Welcome {
    /// The id that we gave to a client without one.
    pub(super) assigned_client_id: Option<String>,
    /// MQTT 5: frames that may wait for their PUBACK (Receive Maximum, at least 1); `None` leaves it at the standard's 65,535.
    pub(super) in_flight_max: Option<u16>,
    /// MQTT 5: our keep-alive instead of the client's.
    pub(super) server_keep_alive_s: Option<u16>,
    /// MQTT 5: tell that the session ends with the connection.
    pub(super) no_session_expiry: bool,
    /// Where the device publishes its frames.
    pub(super) frame_topic: String,
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectRefusal {
    /// User name or password.
    Credentials,
    ClientId,
    /// The last will is not for the device's own state.
    Will,
    /// The last will asks for `QoS` 2.
    WillQos,
    AuthenticationMethod,
    /// The device has too many sessions.
    Quota,
    /// The device signs in too often.
    Rate,
}

/// The answer to a `QoS` 1 publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    NotAuthorised,
    TopicInvalid,
    PayloadInvalid,
    ImplementationSpecific,
}

/// The answer to one topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Qos(u8),
    NotAuthorised,
}

/// Why we end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    ShuttingDown,
    TakenOver,
    KeepAlive,
    /// The client does not read what we send.
    TooSlow,
    QosNotSupported,
    /// A wildcard in the topic of a publish.
    TopicInvalid,
}

/// What stands in front of the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fast<'a> {
    /// A frame that the device published at `QoS` 1.
    Frame { packet_id: u16, payload: &'a [u8] },
    /// Perhaps one; the rest of it has not come. Nothing was taken: give it again with what follows.
    More,
    /// Something else, for [`Engine::receive`].
    No,
}

/// The server's side of one connection.
pub(super) trait Engine: Send {
    /// Takes a frame from the front of `bytes`: what nearly every packet is.
    fn frame<'a>(&mut self, bytes: &mut &'a [u8]) -> Fast<'a>;
    /// Takes at most one packet from the front of `bytes`. `None`: they are all taken and more are needed.
    fn receive(&mut self, bytes: &mut &[u8]) -> Option<Event>;
    /// Accepts the CONNECT.
    fn welcome(&mut self, welcome: &Welcome);
    /// Refuses the CONNECT.
    fn refuse(&mut self, refusal: ConnectRefusal);
    /// Answers a `QoS` 1 publish.
    fn puback(&mut self, packet_id: u16, answer: Answer);
    /// Answers a SUBSCRIBE, filter by filter.
    fn suback(&mut self, packet_id: u16, grants: &[Grant]);
    /// Answers an UNSUBSCRIBE; true for each filter that was subscribed.
    fn unsuback(&mut self, packet_id: u16, existed: &[bool]);
    /// Sends a message of `QoS` 0 to the client. False when it is larger than the client takes.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> bool;
    /// Says why the session ends, where the version has a packet for it.
    fn goodbye(&mut self, goodbye: Goodbye);
    /// The time without a packet after which the client counts as gone; `None` before CONNECT and when it wants none.
    fn keep_alive(&self) -> Option<Duration>;
    /// Bytes for the client; the session removes what it has written.
    fn output(&mut self) -> &mut Vec<u8>;
}
