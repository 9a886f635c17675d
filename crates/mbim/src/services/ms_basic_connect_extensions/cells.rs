//! Information buffers about the cells around the modem.

use crate::fields::layout;
use crate::services::basic_connect::{DataClass, DataClassV3, DataSubclass};

layout! {
    /// GSM serving cell, an element of BASE_STATIONS_INFO.
    CellInfoServingGsm {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        timing_advance: u32,
        arfcn: u32,
        base_station_id: u32,
        rx_level: u32,
    }

    /// UMTS serving cell, an element of BASE_STATIONS_INFO.
    CellInfoServingUmts {
        /// MCC and MNC of the provider as decimal digits.
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

    /// TD-SCDMA serving cell, an element of BASE_STATIONS_INFO.
    CellInfoServingTdscdma {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        cell_parameter_id: u32,
        timing_advance: u32,
        rscp: i32,
        path_loss: u32,
    }

    /// LTE serving cell, an element of BASE_STATIONS_INFO.
    CellInfoServingLte {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        cell_id: u32,
        earfcn: u32,
        physical_cell_id: u32,
        tac: u32,
        rsrp: i32,
        rsrq: i32,
        timing_advance: u32,
    }

    /// GSM neighboring cell, an element of BASE_STATIONS_INFO.
    CellInfoNeighboringGsm {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        arfcn: u32,
        base_station_id: u32,
        rx_level: u32,
    }

    /// UMTS neighboring cell, an element of BASE_STATIONS_INFO.
    CellInfoNeighboringUmts {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        primary_scrambling_code: u32,
        rscp: i32,
        ecno: i32,
        path_loss: u32,
    }

    /// TD-SCDMA neighboring cell, an element of BASE_STATIONS_INFO.
    CellInfoNeighboringTdscdma {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        location_area_code: u32,
        cell_id: u32,
        uarfcn: u32,
        cell_parameter_id: u32,
        timing_advance: u32,
        rscp: i32,
        path_loss: u32,
    }

    /// LTE neighboring cell, an element of BASE_STATIONS_INFO.
    CellInfoNeighboringLte {
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        cell_id: u32,
        earfcn: u32,
        physical_cell_id: u32,
        tac: u32,
        rsrp: i32,
        rsrq: i32,
    }

    /// CDMA cell, an element of BASE_STATIONS_INFO.
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

    /// Information buffer of the BASE_STATIONS_INFO answer.
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

    /// Information buffer of the BASE_STATIONS_INFO query.
    BaseStationsInfoQuery {
        max_gsm_count: u32,
        max_umts_count: u32,
        max_tdscdma_count: u32,
        max_lte_count: u32,
        max_cdma_count: u32,
    }

    /// NR serving cell, an element of BASE_STATIONS_INFO in MBIMEx 3.0.
    CellInfoServingNr {
        /// MCC and MNC of the provider as decimal digits.
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

    /// NR neighboring cell, an element of BASE_STATIONS_INFO in MBIMEx 3.0.
    CellInfoNeighboringNr {
        system_sub_type: DataSubclass,
        /// MCC and MNC of the provider as decimal digits.
        provider_id: String,
        cell_id: String,
        physical_cell_id: u32,
        tac: u32,
        rsrp: u32,
        rsrq: u32,
        sinr: u32,
    }

    /// Information buffer of the BASE_STATIONS_INFO answer in MBIMEx 3.0.
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

    /// Information buffer of the BASE_STATIONS_INFO query in MBIMEx 3.0.
    BaseStationsInfoQueryV3 {
        max_gsm_count: u32,
        max_umts_count: u32,
        max_tdscdma_count: u32,
        max_lte_count: u32,
        max_cdma_count: u32,
        max_nr_count: u32,
    }
}
