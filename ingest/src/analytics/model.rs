//! A plant of the registry as the sun's arithmetic takes it.

use taraz_analytics::calendar::date_of_ms;
use taraz_analytics::solar::{
    ALBEDO_DEFAULT, Array, CellModel, LOSSES_DEFAULT, Place, SAPM_OPEN_RACK_GLASS_GLASS, Site, Sky, Surface,
    System, TURBIDITY_DEFAULT, Weather, Zenith, pvwatts_losses, sky,
};
use taraz_fleet::{Fleet, Plant};

/// Mean temperature of the air by day in °C of each month, January first, on the Caspian coast, where neither the plant nor its
/// district says otherwise: an estimate of ours for the plain around Sari, from no station's record.
const AIR_DEFAULT_C: [f64; 12] = [
    10.0, 10.5, 13.0, 18.0, 23.0, 27.5, 30.0, 30.5, 27.5, 22.5, 16.5, 12.0,
];
/// Wind at the modules in m/s where nobody measures it: light air, so that heat is rather over- than underestimated.
const WIND_M_S: f64 = 1.0;

/// What a plant's expectation is made with.
#[derive(Clone, Debug)]
pub(crate) struct PlantModel {
    pub(crate) place: Place,
    pub(crate) system: System,
    zenith: Zenith,
    turbidity: [f64; 12],
    air_c: [f64; 12],
}

impl PlantModel {
    pub(crate) fn of(fleet: &Fleet, plant: &Plant) -> Self {
        let district = fleet.district(&plant.district);
        let turbidity = plant
            .linke_turbidity
            .or_else(|| district.and_then(|district| district.linke_turbidity));
        let air_c = plant
            .air_c
            .or_else(|| district.and_then(|district| district.air_c));
        Self {
            place: place_of(plant),
            system: system_of(plant),
            zenith: Zenith::of(place_of(plant)),
            turbidity: turbidity.unwrap_or(TURBIDITY_DEFAULT.0),
            air_c: air_c.unwrap_or(AIR_DEFAULT_C),
        }
    }

    /// [`Self::sky`] would be dark; false says nothing. Far cheaper.
    pub(crate) fn is_surely_dark(&self, time_ms: i64) -> bool {
        self.zenith.is_surely_dark(time_ms).unwrap_or(false)
    }

    /// Sun and clear sky over the plant; `None` outside the sun's calendar (years −2000 to 6000).
    pub(crate) fn sky(&self, time_ms: i64) -> Option<Sky> {
        let site = Site {
            place: self.place,
            linke: of_month(&self.turbidity, time_ms),
        };
        sky(&site, time_ms).ok()
    }

    /// What is known of the weather where nobody measures it: the month's air and an index of the sky's clearness.
    pub(crate) fn weather(&self, time_ms: i64, clear_sky_index: f64) -> Weather {
        Weather {
            air_c: of_month(&self.air_c, time_ms),
            wind_m_s: WIND_M_S,
            plane_w_m2: None,
            module_c: None,
            clear_sky_index,
        }
    }
}

/// Where a plant stands.
pub(crate) fn place_of(plant: &Plant) -> Place {
    Place {
        latitude_deg: plant.latitude_deg,
        longitude_deg: plant.longitude_deg,
        altitude_m: plant.altitude_m,
    }
}

/// What a plant is built of.
pub(crate) fn system_of(plant: &Plant) -> System {
    let arrays = plant.arrays.iter().map(|array| Array {
        surface: Surface {
            tilt_deg: array.tilt_deg,
            azimuth_deg: array.azimuth_deg,
            albedo: ALBEDO_DEFAULT,
        },
        peak_w: f64::from(array.peak_w),
    });
    System {
        arrays: arrays.collect(),
        rated_ac_w: f64::from(plant.inverter_ac_w),
        gamma_per_k: plant.temperature_coefficient_per_k,
        losses: plant
            .loss_ratio
            .unwrap_or_else(|| pvwatts_losses(&LOSSES_DEFAULT)),
        cell: match plant.cell_model {
            taraz_fleet::CellModel::Faiman => CellModel::Faiman,
            taraz_fleet::CellModel::Sapm => CellModel::Sapm(SAPM_OPEN_RACK_GLASS_GLASS),
        },
    }
}

/// The value of the month, by the date in Tehran.
fn of_month(months: &[f64; 12], time_ms: i64) -> f64 {
    let month = usize::from(date_of_ms(time_ms).month().unsigned_abs());
    months[(month.max(1) - 1) % months.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-21T08:30Z, noon at Sari.
    const JUNE_MS: i64 = 1_782_030_600_000;

    fn model(change: impl Fn(&str) -> String) -> PlantModel {
        let fleet = Fleet::parse(&change(taraz_fleet::EXAMPLE)).unwrap();
        PlantModel::of(&fleet, &fleet.plants[0])
    }

    #[test]
    fn the_plants_own_word_goes_before_its_districts_and_that_before_the_default() {
        let months = |first: f64| {
            format!(
                "linke_turbidity = [{first:?}{}]\n",
                format!(", {first:?}").repeat(11)
            )
        };
        let district = |text: &str| {
            text.replacen(
                "name_fa = \"ساری\"\n",
                &format!("name_fa = \"ساری\"\n{}", months(5.0)),
                1,
            )
        };
        let plant = |text: &str| {
            let at = "altitude_m = 23.0\n";
            district(text).replacen(at, &format!("{at}{}", months(2.0)), 1)
        };
        assert_eq!(model(str::to_owned).turbidity, TURBIDITY_DEFAULT.0);
        assert_eq!(
            (model(district).turbidity[5], model(plant).turbidity[5]),
            (5.0, 2.0)
        );
        let clear = |model: &PlantModel| model.sky(JUNE_MS).unwrap().clear.ghi_w_m2;
        assert!(clear(&model(plant)) > clear(&model(district)) + 50.0);
    }

    #[test]
    fn what_the_example_says_holds_is_what_holds() {
        let in_force = model(|text| {
            text.replace("# linke_turbidity", "linke_turbidity")
                .replace("# air_c", "air_c")
        });
        let left_out = model(str::to_owned);
        assert_eq!(
            (in_force.turbidity, in_force.air_c),
            (left_out.turbidity, left_out.air_c)
        );
    }
}
