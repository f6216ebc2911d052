//! One suite of cases for every orchestrator, run on real processes, a real Docker daemon and the
//! fake; and the cases that only one of them has. The Docker cases fail where there is no daemon
//! and none can be started: see `tests/docker/daemon.sh`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says no by panicking")]
#![expect(clippy::indexing_slicing, reason = "a missing part fails the test")]

mod bench;
mod confine;
mod daemon;
mod docker;
mod everywhere;
mod fake;
mod images;
mod kubernetes;
mod process;
mod real;
mod registry;
mod relay;
mod small;
mod tokens;

use kubernetes::{drift, placement};

/// Runs cases on benches: `module: Bench::made_by()`.
macro_rules! run {
    ($on:ident, $bench:expr, [$($module:ident :: $case:ident),+ $(,)?]) => {
        mod $on {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$module::$case(&$bench).await;
                }
            )+
        }
    };
}

macro_rules! everywhere {
    ($on:ident, $bench:expr, [$($module:ident :: $case:ident),* $(,)?]) => {
        run!($on, $bench, [
            everywhere::an_instance_lives_from_create_to_remove,
            everywhere::every_step_done_twice_is_done_once,
            everywhere::the_exit_code_is_reported,
            everywhere::an_ended_instance_can_be_started_again,
            everywhere::health_is_reported,
            everywhere::a_killed_instance_is_observed_and_hinted_at,
            everywhere::instances_are_adopted_after_a_restart_of_the_agent,
            everywhere::an_outdated_instance_keeps_its_digest,
            everywhere::two_nodes_do_not_see_each_other,
            everywhere::the_replicas_of_a_service_are_told_apart,
            everywhere::a_step_for_the_wrong_slot_touches_nothing,
            everywhere::what_is_gone_is_stopped_and_removed_already,
            everywhere::a_running_instance_is_not_removed,
            everywhere::an_app_beyond_the_capabilities_is_refused,
            everywhere::removing_an_app_leaves_nothing_but_volumes,
            $($module::$case),*
        ]);
    };
}

macro_rules! really {
    ($on:ident, $bench:expr) => {
        everywhere!(
            $on,
            $bench,
            [
                real::command_environment_configs_and_secrets_reach_the_instance,
                real::files_have_their_modes_and_cannot_be_told_from_labels,
                real::a_volume_outlives_its_app,
                real::a_polite_service_stops_by_its_signal,
                real::a_stubborn_service_is_killed_after_its_grace,
                real::the_stop_signal_of_the_service_is_used,
                real::a_start_period_keeps_a_slow_service_from_being_unhealthy,
                real::the_last_lines_of_a_log_are_shown,
                real::a_command_runs_where_the_instance_runs_and_its_end_is_told,
                real::a_command_that_does_not_exist_is_a_permanent_failure,
                real::what_a_service_may_use_is_limited_and_its_neighbour_is_not,
                real::a_limit_of_processes_holds,
                real::a_permitted_bind_mount_is_seen_and_a_link_out_of_it_refused,
            ]
        );
    };
}

everywhere!(on_fake, crate::bench::Bench::fake(), []);
really!(on_process, crate::bench::Bench::process());
really!(on_docker, crate::bench::Bench::docker());

// Not among them: what needs checks faster than a second, or another signal than SIGTERM; what keeps files of a container from one run to the
// next, which no pod does; and what looks behind links of a node that may be another machine.
run!(
    on_k3s,
    crate::bench::Bench::k3s(),
    [
        everywhere::an_instance_lives_from_create_to_remove,
        everywhere::every_step_done_twice_is_done_once,
        everywhere::the_exit_code_is_reported,
        everywhere::a_killed_instance_is_observed_and_hinted_at,
        everywhere::instances_are_adopted_after_a_restart_of_the_agent,
        everywhere::an_outdated_instance_keeps_its_digest,
        everywhere::two_nodes_do_not_see_each_other,
        everywhere::the_replicas_of_a_service_are_told_apart,
        everywhere::a_step_for_the_wrong_slot_touches_nothing,
        everywhere::what_is_gone_is_stopped_and_removed_already,
        everywhere::a_running_instance_is_not_removed,
        everywhere::an_app_beyond_the_capabilities_is_refused,
        everywhere::removing_an_app_leaves_nothing_but_volumes,
        real::command_environment_configs_and_secrets_reach_the_instance,
        real::files_have_their_modes_and_cannot_be_told_from_labels,
        real::a_volume_outlives_its_app,
        real::a_polite_service_stops_by_its_signal,
        real::a_stubborn_service_is_killed_after_its_grace,
        real::a_start_period_keeps_a_slow_service_from_being_unhealthy,
        real::the_last_lines_of_a_log_are_shown,
        real::a_command_runs_where_the_instance_runs_and_its_end_is_told,
        real::a_command_that_does_not_exist_is_a_permanent_failure,
        kubernetes::a_service_that_is_kept_alive_is_started_again_after_its_end,
        kubernetes::health_is_reported_by_a_probe_of_whole_seconds,
        kubernetes::a_job_that_ended_runs_again,
        drift::a_service_with_everything_is_as_it_was_applied,
        drift::a_field_of_ours_that_was_edited_is_set_right_and_others_are_not,
        drift::what_a_workload_needs_is_made_again_without_a_restart,
        drift::an_evicted_pod_and_a_deleted_workload_come_back,
        kubernetes::the_name_of_a_removed_service_goes_with_its_last_copy,
        kubernetes::an_image_is_fetched_before_anything_is_stopped_for_it,
        kubernetes::credentials_are_there_before_the_pod_that_needs_them,
        kubernetes::an_image_that_is_nowhere_is_a_failure_with_a_reason,
        kubernetes::what_asks_for_the_impossible_is_refused_and_nothing_is_made,
        kubernetes::what_a_service_may_do_is_its_security_context,
        placement::a_pod_that_no_node_takes_at_first_only_delays_its_service,
        placement::a_port_that_somebody_else_has_in_the_cluster_is_named_until_it_is_free,
    ]
);
