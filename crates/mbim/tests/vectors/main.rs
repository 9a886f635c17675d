//! Messages from the unit tests of libmbim and oFono, each as a test with its own name.
//!
//! Each test checks the header, every field that libmbim prints, every value that the original test
//! asserts, byte arrays, and that encoding gives the message again (for messages that libmbim
//! builds, to the byte). A message that must be refused is.

mod asserts;
mod printed;
mod requests;
mod typed;
mod vector;

macro_rules! vectors {
    ($($name:ident = $vector:literal,)*) => {
        $(
            #[test]
            fn $name() {
                vector::check($vector);
            }
        )*

        #[test]
        fn every_vector_has_its_test() {
            let mut listed = vec![$($vector),*];
            let mut there: Vec<String> = vector::all().into_iter().map(|vector| vector.name).collect();
            listed.sort_unstable();
            there.sort_unstable();
            assert_eq!(listed, there);
        }
    };
}

vectors! {
    message_open_done = "test_message_open_done",
    message_close_done = "test_message_close_done",
    message_command_done = "test_message_command_done",
    message_command_done_short = "test_message_command_done_short",
    message_command_done_invalid_type_header = "test_message_command_done_invalid_type_header",
    message_command_done_invalid_buffer_length = "test_message_command_done_invalid_buffer_length",
    message_command_done_invalid_fragment_total = "test_message_command_done_invalid_fragment_total",
    message_command_done_invalid_complate_fragment_current = "test_message_command_done_invalid_complate_fragment_current",
    message_command_done_invalid_partial_fragment_current = "test_message_command_done_invalid_partial_fragment_current",
    message_invalid_type = "test_message_invalid_type",
    basic_connect_visible_providers = "test_basic_connect_visible_providers",
    basic_connect_subscriber_ready_status = "test_basic_connect_subscriber_ready_status",
    basic_connect_device_caps = "test_basic_connect_device_caps",
    basic_connect_ip_configuration = "test_basic_connect_ip_configuration",
    basic_connect_ip_configuration_2 = "test_basic_connect_ip_configuration_2",
    basic_connect_service_activation = "test_basic_connect_service_activation",
    basic_connect_register_state = "test_basic_connect_register_state",
    provisioned_contexts = "test_provisioned_contexts",
    sms_read_zero_pdu = "test_sms_read_zero_pdu",
    sms_read_single_pdu = "test_sms_read_single_pdu",
    sms_read_multiple_pdu = "test_sms_read_multiple_pdu",
    ussd = "test_ussd",
    auth_akap = "test_auth_akap",
    stk_pac_notification = "test_stk_pac_notification",
    stk_pac_response = "test_stk_pac_response",
    stk_terminal_response = "test_stk_terminal_response",
    stk_envelope_response = "test_stk_envelope_response",
    basic_connect_ip_packet_filters_none = "test_basic_connect_ip_packet_filters_none",
    basic_connect_ip_packet_filters_one = "test_basic_connect_ip_packet_filters_one",
    basic_connect_ip_packet_filters_two = "test_basic_connect_ip_packet_filters_two",
    ms_firmware_id_get = "test_ms_firmware_id_get",
    basic_connect_connect_short = "test_basic_connect_connect_short",
    basic_connect_visible_providers_overflow = "test_basic_connect_visible_providers_overflow",
    ms_basic_connect_extensions_base_stations = "test_ms_basic_connect_extensions_base_stations",
    ms_basic_connect_extensions_registration_parameters_0_unnamed_tlvs = "test_ms_basic_connect_extensions_registration_parameters_0_unnamed_tlvs",
    ms_basic_connect_extensions_registration_parameters_1_unnamed_tlv = "test_ms_basic_connect_extensions_registration_parameters_1_unnamed_tlv",
    ms_basic_connect_extensions_registration_parameters_3_unnamed_tlvs = "test_ms_basic_connect_extensions_registration_parameters_3_unnamed_tlvs",
    ms_basic_connect_v3_connect_0_unnamed_tlvs = "test_ms_basic_connect_v3_connect_0_unnamed_tlvs",
    ms_basic_connect_v3_connect_0_unnamed_tlvs_empty_access_string = "test_ms_basic_connect_v3_connect_0_unnamed_tlvs_empty_access_string",
    ms_basic_connect_v3_connect_1_unnamed_tlv = "test_ms_basic_connect_v3_connect_1_unnamed_tlv",
    ms_basic_connect_v3_connect_3_unnamed_tlvs = "test_ms_basic_connect_v3_connect_3_unnamed_tlvs",
    ms_basic_connect_extensions_device_caps_v3 = "test_ms_basic_connect_extensions_device_caps_v3",
    ms_basic_connect_extensions_wake_reason_command = "test_ms_basic_connect_extensions_wake_reason_command",
    ms_basic_connect_extensions_wake_reason_command_payload = "test_ms_basic_connect_extensions_wake_reason_command_payload",
    ms_basic_connect_extensions_wake_reason_packet = "test_ms_basic_connect_extensions_wake_reason_packet",
    ms_uicc_low_level_access_application_list = "test_ms_uicc_low_level_access_application_list",
    google_carrier_lock = "test_google_carrier_lock",
    google_carrier_lock_notification = "test_google_carrier_lock_notification",
    basic_connect_pin_set_raw = "test_basic_connect_pin_set_raw",
    basic_connect_pin_set = "test_basic_connect_pin_set",
    basic_connect_connect_set_raw = "test_basic_connect_connect_set_raw",
    basic_connect_connect_set = "test_basic_connect_connect_set",
    basic_connect_service_activation_set = "test_basic_connect_service_activation_set",
    basic_connect_device_service_subscribe_list_set = "test_basic_connect_device_service_subscribe_list_set",
    ussd_set = "test_ussd_set",
    auth_akap_query = "test_auth_akap_query",
    stk_pac_set = "test_stk_pac_set",
    stk_terminal_response_set = "test_stk_terminal_response_set",
    stk_envelope_set = "test_stk_envelope_set",
    basic_connect_ip_packet_filters_set_none = "test_basic_connect_ip_packet_filters_set_none",
    basic_connect_ip_packet_filters_set_one = "test_basic_connect_ip_packet_filters_set_one",
    basic_connect_ip_packet_filters_set_two = "test_basic_connect_ip_packet_filters_set_two",
    dss_connect_set = "test_dss_connect_set",
    basic_connect_multicarrier_providers_set = "test_basic_connect_multicarrier_providers_set",
    ms_host_shutdown_notify_set = "test_ms_host_shutdown_notify_set",
    ms_basic_connect_extensions_registration_parameters_set_0_unnamed_tlvs = "test_ms_basic_connect_extensions_registration_parameters_set_0_unnamed_tlvs",
    ms_basic_connect_extensions_registration_parameters_set_1_unnamed_tlv = "test_ms_basic_connect_extensions_registration_parameters_set_1_unnamed_tlv",
    ms_basic_connect_extensions_registration_parameters_set_3_unnamed_tlvs = "test_ms_basic_connect_extensions_registration_parameters_set_3_unnamed_tlvs",
    ms_basic_connect_v3_connect_set = "test_ms_basic_connect_v3_connect_set",
    ms_uicc_low_level_access_terminal_capability = "test_ms_uicc_low_level_access_terminal_capability",
    google_carrier_lock_set = "test_google_carrier_lock_set",
    fragment_receive_single_buffer = "test_fragment_receive_single/buffer",
    fragment_receive_single_data = "test_fragment_receive_single/data",
    fragment_receive_multiple_buffer = "test_fragment_receive_multiple/buffer",
    fragment_receive_multiple_data = "test_fragment_receive_multiple/data",
    fragment_send_multiple_1_buffer = "test_fragment_send_multiple_1/buffer",
    fragment_send_multiple_1_expected_buffer = "test_fragment_send_multiple_1/expected_buffer",
    fragment_send_multiple_2_buffer = "test_fragment_send_multiple_2/buffer",
    fragment_send_multiple_2_expected_buffer = "test_fragment_send_multiple_2/expected_buffer",
    fuzzer_sample_basic_data = "test_fuzzer_sample_basic/data",
    fuzzer_sample_invalid_array_size_data = "test_fuzzer_sample_invalid_array_size/data",
    fuzzer_sample_invalid_offset_unbound_bytearray_data = "test_fuzzer_sample_invalid_offset_unbound_bytearray/data",
    fuzzer_sample_ms_struct_array_with_string_data = "test_fuzzer_sample_ms_struct_array_with_string/data",
    fuzzer_sample_ref_struct_array_with_unsized_bytearrays_data = "test_fuzzer_sample_ref_struct_array_with_unsized_bytearrays/data",
    ofono_message_binary_device_caps = "ofono message_binary_device_caps",
    ofono_message_binary_device_caps_query = "ofono message_binary_device_caps_query",
    ofono_message_binary_subscriber_ready_status = "ofono message_binary_subscriber_ready_status",
    ofono_message_binary_phonebook_read = "ofono message_binary_phonebook_read",
    ofono_message_binary_sms_read_all_empty = "ofono message_binary_sms_read_all_empty",
    ofono_message_binary_sms_read_all = "ofono message_binary_sms_read_all",
    ofono_message_binary_sms_send = "ofono message_binary_sms_send",
    ofono_message_binary_device_subscribe_list = "ofono message_binary_device_subscribe_list",
    ofono_message_binary_packet_service_notify = "ofono message_binary_packet_service_notify",
    ofono_message_binary_ip_configuration_query = "ofono message_binary_ip_configuration_query",
}
