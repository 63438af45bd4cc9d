//! Between the crate's packets and codes and the engine's events and answers.

use mqtt_protocol_core::mqtt::packet::{self, Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, MqttError, PubackReasonCode,
};

use super::super::engine::{Answer, Connect, ConnectRefusal, Event, Subscribe, Version, Welcome, Will};

pub(super) fn level(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}

pub(super) fn subscribe(packet_id: u16, entries: &[packet::SubEntry]) -> Event {
    let filter = |entry: &packet::SubEntry| (entry.topic_filter().to_owned(), level(entry.sub_opts().qos()));
    Event::Subscribe(Subscribe {
        packet_id,
        filters: entries.iter().map(filter).collect(),
    })
}

pub(super) fn connect_v3(p: &v3_1_1::Connect) -> Connect {
    let will = p.will_topic().filter(|_| p.will_flag()).map(|topic| Will {
        topic: topic.to_owned(),
        payload: p.will_payload().unwrap_or_default().to_vec(),
        qos: level(p.will_qos()),
    });
    Connect {
        version: Version::V3,
        client_id: p.client_id().to_owned(),
        clean: p.clean_session(),
        user: p.user_name().map(str::to_owned),
        password: p.password().unwrap_or_default().to_vec(),
        keep_alive_s: p.keep_alive(),
        will,
        extended_authentication: false,
        session_expiry: false,
    }
}

pub(super) fn connect_v5(p: &v5_0::Connect) -> Connect {
    let will = p.will_topic().filter(|_| p.will_flag()).map(|topic| Will {
        topic: topic.to_owned(),
        payload: p.will_payload().unwrap_or_default().to_vec(),
        qos: level(p.will_qos()),
    });
    let has = |wanted: fn(&Property) -> bool| p.props().iter().any(wanted);
    Connect {
        version: Version::V5,
        client_id: p.client_id().to_owned(),
        clean: p.clean_start(),
        user: p.user_name().map(str::to_owned),
        password: p.password().unwrap_or_default().to_vec(),
        keep_alive_s: p.keep_alive(),
        will,
        extended_authentication: has(|prop| matches!(prop, Property::AuthenticationMethod(_))),
        session_expiry: has(|prop| matches!(prop, Property::SessionExpiryInterval(_))),
    }
}

/// The longest packet that the client takes, in bytes (MQTT 5, 3.1.2.11.4).
pub(super) fn packet_len_max(p: &v5_0::Connect) -> usize {
    let stated = p.props().iter().find_map(|prop| match prop {
        Property::MaximumPacketSize(size) => Some(size.val()),
        _ => None,
    });
    stated.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX))
}

/// What MQTT 5 lets a server state about itself (3.2.2.3). The crate adds the maximum packet size.
pub(super) fn welcome_properties(welcome: &Welcome) -> Result<Vec<Property>, MqttError> {
    let mut props = vec![
        packet::MaximumQos::new(1)?.into(),
        packet::WildcardSubscriptionAvailable::new(0)?.into(),
        packet::SubscriptionIdentifierAvailable::new(0)?.into(),
        packet::SharedSubscriptionAvailable::new(0)?.into(),
    ];
    if let Some(frames) = welcome.in_flight_max {
        props.push(packet::ReceiveMaximum::new(frames)?.into());
    }
    if let Some(id) = &welcome.assigned_client_id {
        props.push(packet::AssignedClientIdentifier::new(id.as_str())?.into());
    }
    if let Some(seconds) = welcome.server_keep_alive_s {
        props.push(packet::ServerKeepAlive::new(seconds)?.into());
    }
    if welcome.no_session_expiry {
        props.push(packet::SessionExpiryInterval::new(0)?.into());
    }
    Ok(props)
}

pub(super) const fn return_code(refusal: ConnectRefusal) -> ConnectReturnCode {
    match refusal {
        ConnectRefusal::Credentials => ConnectReturnCode::BadUserNameOrPassword,
        ConnectRefusal::ClientId => ConnectReturnCode::IdentifierRejected,
        ConnectRefusal::Will | ConnectRefusal::WillQos | ConnectRefusal::AuthenticationMethod => {
            ConnectReturnCode::NotAuthorized
        }
        ConnectRefusal::Quota | ConnectRefusal::Rate => ConnectReturnCode::ServerUnavailable,
    }
}

pub(super) const fn reason_code(refusal: ConnectRefusal) -> ConnectReasonCode {
    match refusal {
        ConnectRefusal::Credentials => ConnectReasonCode::BadUserNameOrPassword,
        ConnectRefusal::ClientId => ConnectReasonCode::ClientIdentifierNotValid,
        ConnectRefusal::Will => ConnectReasonCode::NotAuthorized,
        ConnectRefusal::WillQos => ConnectReasonCode::QosNotSupported,
        ConnectRefusal::AuthenticationMethod => ConnectReasonCode::BadAuthenticationMethod,
        ConnectRefusal::Quota => ConnectReasonCode::QuotaExceeded,
        ConnectRefusal::Rate => ConnectReasonCode::ConnectionRateExceeded,
    }
}

/// `None`: success, which MQTT 5 lets us leave out (3.4.2.1).
pub(super) const fn puback_code(answer: Answer) -> Option<PubackReasonCode> {
    match answer {
        Answer::Success => None,
        Answer::NotAuthorised => Some(PubackReasonCode::NotAuthorized),
        Answer::TopicInvalid => Some(PubackReasonCode::TopicNameInvalid),
        Answer::PayloadInvalid => Some(PubackReasonCode::PayloadFormatInvalid),
        Answer::ImplementationSpecific => Some(PubackReasonCode::ImplementationSpecificError),
    }
}
