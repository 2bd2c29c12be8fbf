/**
 * What programs are attached to control groups for, by bpftool's names.
 */
import { AttachType, attachTypeByName } from "../../services/Kernel/abi/BpfConstants.ts"

/** The attach types of control groups, in the order in which bpftool shows them. */
export const cgroupAttachTypes: ReadonlyArray<number> = [
  AttachType.BPF_CGROUP_INET_INGRESS,
  AttachType.BPF_CGROUP_INET_EGRESS,
  AttachType.BPF_CGROUP_INET_SOCK_CREATE,
  AttachType.BPF_CGROUP_INET_SOCK_RELEASE,
  AttachType.BPF_CGROUP_INET4_BIND,
  AttachType.BPF_CGROUP_INET6_BIND,
  AttachType.BPF_CGROUP_INET4_POST_BIND,
  AttachType.BPF_CGROUP_INET6_POST_BIND,
  AttachType.BPF_CGROUP_INET4_CONNECT,
  AttachType.BPF_CGROUP_INET6_CONNECT,
  AttachType.BPF_CGROUP_UNIX_CONNECT,
  AttachType.BPF_CGROUP_INET4_GETPEERNAME,
  AttachType.BPF_CGROUP_INET6_GETPEERNAME,
  AttachType.BPF_CGROUP_UNIX_GETPEERNAME,
  AttachType.BPF_CGROUP_INET4_GETSOCKNAME,
  AttachType.BPF_CGROUP_INET6_GETSOCKNAME,
  AttachType.BPF_CGROUP_UNIX_GETSOCKNAME,
  AttachType.BPF_CGROUP_UDP4_SENDMSG,
  AttachType.BPF_CGROUP_UDP6_SENDMSG,
  AttachType.BPF_CGROUP_UNIX_SENDMSG,
  AttachType.BPF_CGROUP_UDP4_RECVMSG,
  AttachType.BPF_CGROUP_UDP6_RECVMSG,
  AttachType.BPF_CGROUP_UNIX_RECVMSG,
  AttachType.BPF_CGROUP_SOCK_OPS,
  AttachType.BPF_CGROUP_DEVICE,
  AttachType.BPF_CGROUP_SYSCTL,
  AttachType.BPF_CGROUP_GETSOCKOPT,
  AttachType.BPF_CGROUP_SETSOCKOPT,
  AttachType.BPF_LSM_CGROUP
]

/** The names of bpftool's early days, which it still takes. */
const older: Readonly<Record<string, number>> = {
  ingress: AttachType.BPF_CGROUP_INET_INGRESS,
  egress: AttachType.BPF_CGROUP_INET_EGRESS,
  sock_create: AttachType.BPF_CGROUP_INET_SOCK_CREATE,
  sock_release: AttachType.BPF_CGROUP_INET_SOCK_RELEASE,
  sock_ops: AttachType.BPF_CGROUP_SOCK_OPS,
  device: AttachType.BPF_CGROUP_DEVICE,
  bind4: AttachType.BPF_CGROUP_INET4_BIND,
  bind6: AttachType.BPF_CGROUP_INET6_BIND,
  post_bind4: AttachType.BPF_CGROUP_INET4_POST_BIND,
  post_bind6: AttachType.BPF_CGROUP_INET6_POST_BIND,
  connect4: AttachType.BPF_CGROUP_INET4_CONNECT,
  connect6: AttachType.BPF_CGROUP_INET6_CONNECT,
  getpeername4: AttachType.BPF_CGROUP_INET4_GETPEERNAME,
  getpeername6: AttachType.BPF_CGROUP_INET6_GETPEERNAME,
  getsockname4: AttachType.BPF_CGROUP_INET4_GETSOCKNAME,
  getsockname6: AttachType.BPF_CGROUP_INET6_GETSOCKNAME,
  sendmsg4: AttachType.BPF_CGROUP_UDP4_SENDMSG,
  sendmsg6: AttachType.BPF_CGROUP_UDP6_SENDMSG,
  recvmsg4: AttachType.BPF_CGROUP_UDP4_RECVMSG,
  recvmsg6: AttachType.BPF_CGROUP_UDP6_RECVMSG,
  sysctl: AttachType.BPF_CGROUP_SYSCTL,
  getsockopt: AttachType.BPF_CGROUP_GETSOCKOPT,
  setsockopt: AttachType.BPF_CGROUP_SETSOCKOPT
}

/** The attach type of a name: `cgroup_inet_egress`, or `egress`. `undefined` where it is none of a cgroup. */
export const cgroupAttachType = (name: string): number | undefined => {
  const type = Object.hasOwn(older, name) ? older[name] : attachTypeByName(name)
  return type !== undefined && cgroupAttachTypes.includes(type) ? type : undefined
}
