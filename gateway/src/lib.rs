//! Takes every frame in, durably: MQTT doors, validation, spool, forwarding.
