//! Cells around the modem.

use crate::fields::layout;
use crate::services::basic_connect::{DataClass, DataClassV3, DataSubclass};

layout! {
    /// `CellInfoServingGsm`, an element of other structures.
    CellInfoServingGsm {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        timing_advance: u32,
        arfcn: u32,
        base_station_id: u32,
        rx_level: u32,
    }

    /// `CellInfoServingUmts`, an element of other structures.
    CellInfoServingUmts {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        frequency_info_ul: u32,
        frequency_info_dl: u32,
        frequency_info_nt: u32,
        uarfcn: u32,
        primary_scrambling_code: u32,
        rscp: i32,
        ecno: i32,
        path_loss: u32,
    }

    /// `CellInfoServingTdscdma`, an element of other structures.
    CellInfoServingTdscdma {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        cell_parameter_id: u32,
        timing_advance: u32,
        rscp: i32,
        path_loss: u32,
    }

    /// `CellInfoServingLte`, an element of other structures.
    CellInfoServingLte {
        /// MCC and MNC, digits.
        provider_id: String,
        cell_id: u32,
        earfcn: u32,
        physical_cell_id: u32,
        tac: u32,
        rsrp: i32,
        rsrq: i32,
        timing_advance: u32,
    }

    /// `CellInfoNeighboringGsm`, an element of other structures.
    CellInfoNeighboringGsm {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        arfcn: u32,
        base_station_id: u32,
        rx_level: u32,
    }

    /// `CellInfoNeighboringUmts`, an element of other structures.
    CellInfoNeighboringUmts {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        primary_scrambling_code: u32,
        rscp: i32,
        ecno: i32,
        path_loss: u32,
    }

    /// `CellInfoNeighboringTdscdma`, an element of other structures.
    CellInfoNeighboringTdscdma {
        /// MCC and MNC, digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        cell_parameter_id: u32,
        timing_advance: u32,
        rscp: i32,
        path_loss: u32,
    }

    /// `CellInfoNeighboringLte`, an element of other structures.
    CellInfoNeighboringLte {
        /// MCC and MNC, digits.
        provider_id: String,
        cell_id: u32,
        earfcn: u32,
        physical_cell_id: u32,
        tac: u32,
        rsrp: i32,
        rsrq: i32,
    }

    /// `CellInfoCdma`, an element of other structures.
    CellInfoCdma {
        serving_cell_flag: u32,
        nid: u32,
        sid: u32,
        base_station_id: u32,
        base_latitude: u32,
        base_longitude: u32,
        ref_pn: u32,
        gps_seconds: u32,
        pilot_strength: u32,
    }

    /// Answer of BASE_STATIONS_INFO.
    BaseStationsInfo {
        system_type: DataClass,
        gsm_serving_cell: Option<CellInfoServingGsm> as sized_struct,
        umts_serving_cell: Option<CellInfoServingUmts> as sized_struct,
        tdscdma_serving_cell: Option<CellInfoServingTdscdma> as sized_struct,
        lte_serving_cell: Option<CellInfoServingLte> as sized_struct,
        gsm_neighboring_cells: Vec<CellInfoNeighboringGsm> as sized_array,
        umts_neighboring_cells: Vec<CellInfoNeighboringUmts> as sized_array,
        tdscdma_neighboring_cells: Vec<CellInfoNeighboringTdscdma> as sized_array,
        lte_neighboring_cells: Vec<CellInfoNeighboringLte> as sized_array,
        cdma_cells: Vec<CellInfoCdma> as sized_array,
    }

    /// Query of BASE_STATIONS_INFO.
    BaseStationsInfoQuery {
        max_gsm_count: u32,
        max_umts_count: u32,
        max_tdscdma_count: u32,
        max_lte_count: u32,
        max_cdma_count: u32,
    }

    /// `CellInfoServingNr`, an element of other structures.
    CellInfoServingNr {
        /// MCC and MNC, digits.
        provider_id: String,
        nci: u64,
        physical_cell_id: u32,
        nrarfcn: u32,
        tac: u32,
        rsrp: u32,
        rsrq: u32,
        sinr: u32,
        timing_advance: u64,
    }

    /// `CellInfoNeighboringNr`, an element of other structures.
    CellInfoNeighboringNr {
        system_sub_type: DataSubclass,
        /// MCC and MNC, digits.
        provider_id: String,
        cell_id: String,
        physical_cell_id: u32,
        tac: u32,
        rsrp: u32,
        rsrq: u32,
        sinr: u32,
    }

    /// Answer of BASE_STATIONS_INFO.
    BaseStationsInfoV3 {
        system_type: DataClassV3,
        system_sub_type: DataSubclass,
        gsm_serving_cell: Option<CellInfoServingGsm> as sized_struct,
        umts_serving_cell: Option<CellInfoServingUmts> as sized_struct,
        tdscdma_serving_cell: Option<CellInfoServingTdscdma> as sized_struct,
        lte_serving_cell: Option<CellInfoServingLte> as sized_struct,
        gsm_neighboring_cells: Vec<CellInfoNeighboringGsm> as sized_array,
        umts_neighboring_cells: Vec<CellInfoNeighboringUmts> as sized_array,
        tdscdma_neighboring_cells: Vec<CellInfoNeighboringTdscdma> as sized_array,
        lte_neighboring_cells: Vec<CellInfoNeighboringLte> as sized_array,
        cdma_cells: Vec<CellInfoCdma> as sized_array,
        nr_serving_cells: Vec<CellInfoServingNr> as sized_array,
        nr_neighbor_cells: Vec<CellInfoNeighboringNr> as sized_array,
    }

    /// Query of BASE_STATIONS_INFO.
    BaseStationsInfoQueryV3 {
        max_gsm_count: u32,
        max_umts_count: u32,
        max_tdscdma_count: u32,
        max_lte_count: u32,
        max_cdma_count: u32,
        max_nr_count: u32,
    }
}
