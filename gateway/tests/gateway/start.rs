//! Why a gateway does not start, and what it says then.

use prometheus::Registry;
use taraz_gateway::{Config, Gateway, StartError};
use tokio_util::sync::CancellationToken;

use crate::rig::{Recorder, Rig, fleet, master};

async fn refused(config: Config, registry: &Registry) -> StartError {
    let stop = CancellationToken::new();
    let started = Gateway::start(config, fleet(1), master(), Recorder::default(), registry, stop).await;
    started.expect_err("a reason not to start")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_stands_in_the_way() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0".parse().unwrap();

    let config = Config {
        spool_max_mib: 0,
        ..Config::new(folder.path().into(), free)
    };
    let error = refused(config, &Registry::new()).await.to_string();
    assert_eq!(
        error,
        "gateway configuration: spool_max_mib: found 0; allowed: 1 to 1000000, as 4096"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "checked before anything is touched"
    );

    let taken = rig.mqtt();
    let error = refused(Config::new(folder.path().into(), taken), &Registry::new())
        .await
        .to_string();
    assert!(
        error.starts_with(&format!("can't listen for MQTT on {taken}: ")),
        "{error}"
    );

    let error = refused(Config::new(rig.folder.path().into(), free), &Registry::new())
        .await
        .to_string();
    assert!(
        error.starts_with("another gateway works on the spool in "),
        "{error}"
    );

    let error = refused(Config::new(folder.path().into(), free), &rig.registry).await;
    assert!(matches!(error, StartError::Metrics(_)), "{error}");

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refused(Config::new(file, free), &Registry::new())
        .await
        .to_string();
    assert!(error.starts_with("can't use the spool's folder "), "{error}");
}
