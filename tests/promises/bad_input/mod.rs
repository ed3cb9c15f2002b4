//! Bad input: whatever comes in over a socket, in the configuration or from the host is refused in clear words, and nothing
//! of anyone else is lost.
//!
//! Every case, and the tests that show it. Names without a slash are modules of these tests, the others files of the
//! repository; a test below checks that each of them is there.
//!
//! | case | shown by |
//! |---|---|
//! | **from a client** | |
//! | a frame over the limit | `intruders::a_frame_that_is_too_large`, `bad_input::frames::a_frame_at_its_limit` |
//! | what is not CBOR | `intruders::garbage_instead_of_a_hello`, `intruders::any_bytes_at_all` |
//! | an unknown message type, or one that has no business here | `intruders::unknown_and_misplaced_messages` |
//! | another version, another role | `intruders::another_version`, `intruders::another_role` |
//! | no hello first | `intruders::a_request_before_the_hello` |
//! | an unknown method | `intruders::an_unknown_method_is_rejected_and_no_more` |
//! | a body over the limit | `bad_input::frames::a_body_at_its_limit` |
//! | one byte below, at and above each limit: body | `bad_input::frames::a_body_at_its_limit` |
//! | … header | `bad_input::frames::a_header_at_its_limit` |
//! | … frame | `bad_input::frames::a_frame_at_its_limit` |
//! | … method's name | `bad_input::frames::a_method_name_at_its_limit` |
//! | … metadata | `bad_input::frames::metadata_at_its_limit` |
//! | … by the client SDK, which keeps its connection | `bad_input::frames::the_sdk_keeps_its_connection` |
//! | half a frame, and stays | `intruders::half_a_frame_and_stay` |
//! | never reads its answers | `intruders::a_client_that_never_reads` |
//! | floods cancels | `bad_input::clients::a_flood_of_cancels`, `bad_input::clients::cancels_of_one_request`, `intruders::cancels_of_nothing` |
//! | floods connections | `bad_input::descriptors::a_flood_of_clients_is_refused_and_recovers` |
//! | floods connections and says nothing | `bad_input::descriptors::a_flood_of_silent_connections_is_refused_and_recovers` |
//! | floods everything at a low limit | `bad_input::descriptors::all_floods_at_once_leave_room_for_workers` |
//! | the same id twice | `intruders::an_id_twice` |
//! | HTTP that is none, is slow or never read | `server/src/http/tests/hostile.rs::hostile_bytes_get_an_error_or_nothing`, `server/src/http/tests/hostile.rs::a_slow_client_keeps_nobody_waiting`, `server/src/http/tests/hostile.rs::a_client_that_never_reads_loses_its_place` |
//! | **from a worker** | |
//! | one byte below, at and above the limits of body, header and frame | `bad_input::workers::an_answer_at_each_limit` |
//! | a frame over the limit, by its length alone | `violations::an_oversized_frame_is_refused_by_its_length_alone` |
//! | what is not CBOR, an unknown message type, one that has no business here | `bad_input::workers::messages_that_a_worker_may_not_send`, `violations::garbage` |
//! | another version, another role, a method missing, too small a limit | `bad_input::workers::a_hello_that_does_not_fit` |
//! | a hello that is none | `bad_input::workers::a_hello_that_is_none` |
//! | half a frame, and stays | `bad_input::workers::half_a_frame_and_stay` |
//! | half a frame, and dies | `last_words::story_25_half_an_answer_is_never_delivered` |
//! | words without end about its failures | `bad_input::workers::words_without_end` |
//! | answers that nobody asked for | `violations::an_answer_to_a_request_that_it_never_got`, `violations::a_second_answer` |
//! | **in the configuration** | |
//! | no TOML, no file, no text | `bad_input::configurations::what_is_no_configuration` |
//! | unknown keys | `bad_input::configurations::unknown_keys`, `server/src/config/tests/errors.rs::unknown_keys_get_a_suggestion` |
//! | impossible values | `bad_input::configurations::impossible_values_and_limits_out_of_order`, `server/src/config/tests/errors.rs::numbers_have_bounds` |
//! | limits out of order | `bad_input::configurations::impossible_values_and_limits_out_of_order`, `server/src/config/tests/relations.rs::limits_that_can_never_fire` |
//! | a method in two pools | `bad_input::configurations::a_method_in_two_pools` |
//! | a program that is not there, or none | `bad_input::configurations::a_program_that_is_not_there` |
//! | a program that vanishes | `starts::a_program_that_vanishes` |
//! | a program that is no worker | `bad_input::programs::programs_that_are_no_workers`, `starts::programs_that_are_no_workers` |
//! | a variable that spells no key | `server/src/config/tests/variables.rs::refusals_name_the_variable` |
//! | **from the host** | |
//! | a socket's path that is too long | `seats::a_path_that_is_too_long`, `server/src/config/tests/errors.rs::the_socket_must_fit_into_an_address` |
//! | a directory without permission, or none | `seats::a_directory_without_permission`, `seats::a_directory_that_cannot_be_made` |
//! | a socket in use by a broker that lives | `seats::a_second_broker_is_refused_and_the_first_undisturbed` |
//! | a stale socket | `seats::a_stale_socket_is_taken_over` |
//! | a file, or somebody else's socket, in its place | `seats::what_is_not_a_brokers_socket_is_left_alone` |
//! | an HTTP address that is taken | `seats::a_taken_http_address` |
//! | SIGCHLD ignored by the parent | `hosts::sigchld_ignored_by_the_parent` |
//! | a limit on descriptors that is too low | `bad_input::descriptors::too_few_for_the_workers` |
//! | not one descriptor left, for a client or a spawn | `bad_input::descriptors::not_one_descriptor_left` |

mod clients;
mod configurations;
mod descriptors;
mod frames;
mod programs;
mod workers;

use std::fs;

use lifeboat_tests::harness::workspace;

/// The file that a module of these tests is in.
fn file_of(module: &str) -> String {
    let path = module.replace("::", "/");
    let file = format!("tests/promises/{path}.rs");
    if workspace().join(&file).exists() { file } else { format!("tests/promises/{path}/mod.rs") }
}

#[test]
fn the_table_names_tests_that_are_there() {
    let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut named = 0;
    for row in rows {
        let (_, shown_by) = row.split_once(" | ").expect("a row has two columns");
        for name in shown_by.split('`').filter(|name| name.contains("::")) {
            let (place, test) = name.rsplit_once("::").expect("a test is in a module or a file");
            let file = if place.contains('/') { place.to_owned() } else { file_of(place) };
            let text = fs::read_to_string(workspace().join(&file))
                .unwrap_or_else(|error| panic!("`{name}` is in no file of tests: {file}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "`{name}` is not in {file}");
            named += 1;
        }
    }
    assert!(named > 50, "the table was not found: {named} names");
}
