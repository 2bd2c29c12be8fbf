/**
 * Since which release programs may call a function of the kernel, as far as that is known.
 *
 * Functions of the kernel come and go with any release, and out of modules; a function that is not here may be in any.
 *
 * Sources: eBPF Docs (docs.ebpf.io); held against the types of Linux 6.1, 6.12 and 6.18.
 */
import { ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import { type Availability, compare, later, since, table, unknownRelease } from "./Release.ts"

const releases: ReadonlyMap<string, string> = table(`
  5.13 bbr_init bbr_main bbr_sndbuf_expand bbr_undo_cwnd bbr_cwnd_event bbr_ssthresh bbr_min_tso_segs bbr_set_state
      cubictcp_init cubictcp_recalc_ssthresh cubictcp_cong_avoid cubictcp_state cubictcp_cwnd_event cubictcp_acked
      dctcp_init dctcp_update_alpha dctcp_cwnd_event dctcp_ssthresh dctcp_cwnd_undo dctcp_state tcp_reno_ssthresh
      tcp_reno_cong_avoid tcp_reno_undo_cwnd tcp_slow_start tcp_cong_avoid_ai
  5.18 bpf_xdp_ct_lookup bpf_skb_ct_lookup bpf_ct_release
  6.0 bpf_xdp_ct_alloc bpf_skb_ct_alloc bpf_ct_insert_entry bpf_ct_set_timeout bpf_ct_change_timeout bpf_ct_set_status
      bpf_ct_change_status
  6.1 cgroup_rstat_updated cgroup_rstat_flush bpf_lookup_user_key bpf_lookup_system_key bpf_key_put
      bpf_verify_pkcs7_signature crash_kexec bpf_ct_set_nat_info
  6.2 bpf_obj_new_impl bpf_obj_drop_impl bpf_list_pop_front bpf_list_pop_back bpf_task_acquire bpf_task_release
      bpf_cgroup_acquire bpf_cgroup_release bpf_cgroup_ancestor bpf_task_from_pid bpf_cast_to_kern_ctx bpf_rdonly_cast
      bpf_rcu_read_lock bpf_rcu_read_unlock bpf_skb_get_xfrm_info bpf_skb_set_xfrm_info
  6.3 bpf_cpumask_create bpf_cpumask_release bpf_cpumask_acquire bpf_cpumask_first bpf_cpumask_first_zero
      bpf_cpumask_set_cpu bpf_cpumask_clear_cpu bpf_cpumask_test_cpu bpf_cpumask_test_and_set_cpu
      bpf_cpumask_test_and_clear_cpu bpf_cpumask_setall bpf_cpumask_clear bpf_cpumask_and bpf_cpumask_or
      bpf_cpumask_xor bpf_cpumask_equal bpf_cpumask_intersects bpf_cpumask_subset bpf_cpumask_empty bpf_cpumask_full
      bpf_cpumask_copy bpf_rbtree_remove bpf_rbtree_first bpf_xdp_metadata_rx_timestamp bpf_xdp_metadata_rx_hash
      hid_bpf_get_data hid_bpf_attach_prog hid_bpf_allocate_context hid_bpf_release_context hid_bpf_hw_request
  6.4 bpf_refcount_acquire_impl bpf_list_push_front_impl bpf_list_push_back_impl bpf_rbtree_add_impl
      bpf_cgroup_from_id bpf_dynptr_slice bpf_dynptr_slice_rdwr bpf_iter_num_new bpf_iter_num_next
      bpf_iter_num_destroy bpf_dynptr_from_skb bpf_dynptr_from_xdp bpf_skb_set_fou_encap bpf_skb_get_fou_encap
  6.5 bpf_cpumask_first_and bpf_cpumask_any_distribute bpf_cpumask_any_and_distribute bpf_task_under_cgroup
      bpf_dynptr_adjust bpf_dynptr_is_null bpf_dynptr_is_rdonly bpf_dynptr_size bpf_dynptr_clone bpf_sock_destroy
  6.6 bpf_map_sum_elem_count
  6.7 bpf_percpu_obj_new_impl bpf_percpu_obj_drop_impl bpf_throw bpf_iter_task_vma_new bpf_iter_task_vma_next
      bpf_iter_task_vma_destroy bpf_iter_css_task_new bpf_iter_css_task_next bpf_iter_css_task_destroy
      bpf_iter_css_new bpf_iter_css_next bpf_iter_css_destroy bpf_iter_task_new bpf_iter_task_next
      bpf_iter_task_destroy bpf_sock_addr_set_sun_path
  6.8 bpf_get_file_xattr bpf_cpumask_weight bpf_task_get_cgroup1 bpf_get_fsverity_digest bpf_xdp_metadata_rx_vlan_tag
      bpf_xdp_get_xfrm_state bpf_xdp_xfrm_state_release
  6.9 bpf_arena_alloc_pages bpf_arena_free_pages
  6.10 bpf_wq_init bpf_wq_set_callback_impl bpf_wq_start bpf_preempt_disable bpf_preempt_enable bpf_crypto_ctx_create
      bpf_crypto_ctx_release bpf_crypto_ctx_acquire bpf_crypto_decrypt bpf_crypto_encrypt bpf_session_is_return
      bpf_session_cookie hid_bpf_hw_output_report hid_bpf_input_report
  6.11 bpf_iter_bits_destroy bpf_iter_bits_new bpf_iter_bits_next bpf_xdp_flow_lookup hid_bpf_try_input_report
      bpf_sk_assign_tcp_reqsk
  6.12 bpf_copy_from_user_str scx_bpf_select_cpu_dfl scx_bpf_dispatch scx_bpf_dispatch_vtime scx_bpf_dispatch_nr_slots
      scx_bpf_dispatch_cancel scx_bpf_consume scx_bpf_dispatch_from_dsq_set_slice scx_bpf_dispatch_from_dsq_set_vtime
      scx_bpf_dispatch_from_dsq scx_bpf_dispatch_vtime_from_dsq scx_bpf_reenqueue_local scx_bpf_create_dsq
      scx_bpf_kick_cpu scx_bpf_dsq_nr_queued scx_bpf_destroy_dsq bpf_iter_scx_dsq_new bpf_iter_scx_dsq_next
      bpf_iter_scx_dsq_destroy scx_bpf_exit_bstr scx_bpf_error_bstr scx_bpf_dump_bstr scx_bpf_cpuperf_cap
      scx_bpf_cpuperf_cur scx_bpf_cpuperf_set scx_bpf_nr_cpu_ids scx_bpf_get_possible_cpumask
      scx_bpf_get_online_cpumask scx_bpf_put_cpumask scx_bpf_get_idle_cpumask scx_bpf_get_idle_smtmask
      scx_bpf_put_idle_cpumask scx_bpf_test_and_clear_cpu_idle scx_bpf_pick_idle_cpu scx_bpf_pick_any_cpu
      scx_bpf_task_running scx_bpf_task_cpu scx_bpf_cpu_rq scx_bpf_task_cgroup bpf_get_task_exe_file bpf_put_file
      bpf_path_d_path bpf_get_dentry_xattr
  6.13 bpf_task_from_vpid bpf_send_signal_task bpf_get_kmem_cache bpf_iter_kmem_cache_new bpf_iter_kmem_cache_next
      bpf_iter_kmem_cache_destroy scx_bpf_dsq_insert scx_bpf_dsq_insert_vtime scx_bpf_dsq_move_to_local
      scx_bpf_dsq_move_set_slice scx_bpf_dsq_move_set_vtime scx_bpf_dsq_move scx_bpf_dsq_move_vtime
  6.14 bpf_local_irq_save bpf_local_irq_restore scx_bpf_now
  6.15 scx_bpf_events bpf_set_dentry_xattr bpf_remove_dentry_xattr scx_bpf_cpu_node scx_bpf_get_idle_cpumask_node
      scx_bpf_get_idle_smtmask_node scx_bpf_pick_idle_cpu_node scx_bpf_pick_any_cpu_node bpf_copy_from_user_task_str
      bpf_sock_ops_enable_tx_tstamp scx_bpf_nr_node_ids bpf_dynptr_copy bpf_cpumask_populate bpf_res_spin_lock
      bpf_res_spin_unlock bpf_res_spin_lock_irqsave bpf_res_spin_unlock_irqrestore
  6.16 css_rstat_updated css_rstat_flush __bpf_trap bpf_iter_dmabuf_new bpf_iter_dmabuf_next bpf_iter_dmabuf_destroy
      bpf_probe_read_user_dynptr bpf_probe_read_kernel_dynptr bpf_probe_read_user_str_dynptr
      bpf_probe_read_kernel_str_dynptr bpf_copy_from_user_dynptr bpf_copy_from_user_str_dynptr
      bpf_copy_from_user_task_dynptr bpf_copy_from_user_task_str_dynptr bpf_list_front bpf_list_back bpf_rbtree_root
      bpf_rbtree_left bpf_rbtree_right bpf_qdisc_bstats_update bpf_qdisc_watchdog_schedule bpf_qdisc_init_prologue
      bpf_qdisc_reset_destroy_epilogue bpf_skb_get_hash bpf_kfree_skb bpf_qdisc_skb_drop scx_bpf_select_cpu_and
  6.17 bpf_arena_reserve_pages bpf_stream_vprintk_impl bpf_dynptr_memset bpf_cgroup_read_xattr bpf_strcmp bpf_strnchr
      bpf_strchr bpf_strchrnul bpf_strrchr bpf_strlen bpf_strspn bpf_strcspn bpf_strnstr bpf_strstr
  6.18 bpf_dynptr_from_skb_meta bpf_xdp_pull_data scx_bpf_cpu_curr scx_bpf_locked_rq bpf_strcasecmp
      bpf_task_work_schedule_resume_impl bpf_task_work_schedule_signal_impl
  6.19 __scx_bpf_dsq_insert_vtime __scx_bpf_select_cpu_and bpf_dynptr_file_discard bpf_dynptr_from_file bpf_strcasestr
      bpf_strncasestr scx_bpf_dsq_peek scx_bpf_task_set_slice scx_bpf_task_set_dsq_vtime
  7.0 bpf_stream_print_stack bpf_stream_vprintk bpf_strncasecmp bpf_task_work_schedule_resume
      bpf_task_work_schedule_signal bpf_timer_cancel_async bpf_wq_set_callback
  7.1 bbr_cwnd_event_tx_start cubictcp_cwnd_event_tx_start dctcp_cwnd_event_tx_start bpf_io_uring_submit_sqes
      bpf_io_uring_get_region bpf_obj_drop bpf_obj_new bpf_percpu_obj_new bpf_percpu_obj_drop bpf_refcount_acquire
      bpf_list_push_back bpf_list_push_front bpf_rbtree_add scx_bpf_dsq_reenq scx_bpf_sub_dispatch
`)

/** The modules that functions are in where they are not in the kernel itself, by how their names begin. */
const modules: ReadonlyArray<readonly [module: string, names: RegExp]> = [
  ["nf_nat", /^bpf_ct_set_nat_info$/],
  ["nf_conntrack", /^bpf_(xdp_ct_|skb_ct_|ct_)/],
  ["xfrm_interface", /^bpf_skb_[gs]et_xfrm_info$/],
  ["fou", /^bpf_skb_[gs]et_fou_encap$/],
  ["nf_flow_table", /^bpf_xdp_flow_lookup$/],
  ["tcp_bbr", /^bbr_/],
  ["tcp_dctcp", /^dctcp_/],
  ["tcp_cubic", /^cubictcp_/],
  ["hid", /^hid_bpf_/]
]

/** Functions that a release took away, with the last one that has them. */
const removed: ReadonlyMap<string, string> = new Map([
  ["cgroup_rstat_updated", "6.15"],
  ["cgroup_rstat_flush", "6.15"],
  ["hid_bpf_attach_prog", "6.10"]
])

/** Functions whose release is known, by name. */
export const kfuncReleases: ReadonlyMap<string, string> = releases

/** Since when the kernel has a function that programs may call. */
export const ofKfunc = (name: string): Availability => {
  const release = releases.get(name)
  return release === undefined ? unknownRelease : since(release)
}

/** Whether a release has taken a function away. */
export const isRemovedIn = (name: string, release: string): boolean => {
  const last = removed.get(name)
  return last !== undefined && compare(release, last) > 0
}

/** The module that has a function on kernels where it is not built in; `undefined` where the kernel itself has it. */
export const moduleOfKfunc = (name: string): string | undefined => modules.find(([, names]) => names.test(name))?.[0]

/** Since when programs of a type may call any function of the kernel. */
const ofKfuncsIn = (type: number): Availability => {
  switch (type) {
    case ProgType.BPF_PROG_TYPE_SCHED_CLS:
    case ProgType.BPF_PROG_TYPE_XDP:
      return since("5.18")
    case ProgType.BPF_PROG_TYPE_TRACEPOINT:
    case ProgType.BPF_PROG_TYPE_PERF_EVENT:
      return since("6.12")
    case ProgType.BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
      return since("6.7")
    default:
      return since("5.13")
  }
}

/** Since when programs of a type may call a function. */
export const ofKfuncIn = (name: string, type: number): Availability => later(ofKfunc(name), ofKfuncsIn(type))
