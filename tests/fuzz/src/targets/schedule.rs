//! Schedules that somebody uploads.

use std::path::Path;

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_ingest::{ScheduleError, Schedules};

use super::rig;
use crate::harness::Target;

/// Fuzzes `Schedules::import`.
pub(crate) struct Uploads {
    schedules: Schedules,
}

impl Uploads {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let (fleet, _) = rig::fleet(folder, 3)?;
        Ok(Self {
            schedules: Schedules::new(folder, fleet),
        })
    }
}

impl Target for Uploads {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let mut text = String::from("plant,start,minutes,scheduled_kwh\n");
        for row in 0..random.random_range(0..6) {
            let (plant, hour) = (random.random_range(1..=4), row % 24);
            text += &format!(
                "load-{plant:05},2026-11-01T{hour:02}:00:00Z,{},{}.{}\n",
                [15, 30, 60][random.random_range(0..3)],
                random.random_range(0..99),
                random.random_range(0..9)
            );
        }
        text.into_bytes()
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(input);
        match self.schedules.import(&text) {
            Ok(imported) if imported.periods == 0 => Ok("empty".to_owned()),
            Ok(_) => match self.schedules.import(&text) {
                Ok(_) => Ok("taken".to_owned()),
                Err(error) => Err(format!("taken, and not taken again: {error}")),
            },
            Err(ScheduleError::Line { what, .. } | ScheduleError::Stored { what, .. }) => Ok(format!(
                "line: {}",
                what.split(['"', ':', ',']).next().unwrap_or_default()
            )),
            Err(error) => Ok(error.to_string().split(':').next().unwrap_or_default().to_owned()),
        }
    }
}
