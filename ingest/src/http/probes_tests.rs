//! Who asks and gives up, and what a question leaves in the store.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use taraz_fleet::Fleet;

use super::*;
use crate::http::{Now, Parts, SCRAPES_AT_ONCE_MAX};
use crate::store::Store;

/// Says that it is asked, and answers when it is told to.
struct Slow {
    desc: Desc,
    asked: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Collector for Slow {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _ = self.asked.send(());
        let _ = self.go_on.lock().unwrap().recv();
        Vec::new()
    }
}

fn api(folder: &Path, registry: Registry) -> Arc<Api> {
    let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
    let now: Now = Arc::new(|| 1_795_422_600_000);
    let store = Store::open(folder, fleet, Arc::clone(&now)).unwrap();
    Arc::new(Api::new(Parts {
        store,
        registry,
        sinks: Vec::new(),
        now,
        beside: crate::http::BesideSlot::default(),
        token: "0123456789abcdef-token".into(),
    }))
}

#[tokio::test]
async fn a_scrape_that_was_given_up_keeps_its_turn_until_its_text_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let ((asked, was_asked), (go, go_on)) = (channel(), channel());
    let desc = Desc::new("slow".into(), "Slow.".into(), Vec::new(), Default::default()).unwrap();
    let slow = Slow {
        desc,
        asked,
        go_on: Mutex::new(go_on),
    };
    registry.register(Box::new(slow)).unwrap();
    let api = api(folder.path(), registry);
    let scrape = tokio::spawn(metrics(State(Arc::clone(&api))));
    tokio::task::spawn_blocking(move || was_asked.recv().unwrap())
        .await
        .unwrap();
    scrape.abort();
    assert!(scrape.await.unwrap_err().is_cancelled());
    assert_eq!(api.scrapes.available_permits(), SCRAPES_AT_ONCE_MAX - 1);
    go.send(()).unwrap();
    let turn = tokio::time::timeout(COMMIT_TIMEOUT, api.scrapes.acquire()).await;
    assert!(turn.is_ok(), "the turn comes back");
}

#[tokio::test]
async fn a_probe_of_the_store_takes_no_places_from_readings() {
    let folder = tempfile::tempdir().unwrap();
    let api = api(folder.path(), Registry::new());
    assert!(ready(State(Arc::clone(&api))).await.is_ok());
    // Sinks are not behind by it, and the next reading's place follows the last one's.
    assert_eq!(api.store.behind(0).unwrap(), 0, "no reading is stored");
}
