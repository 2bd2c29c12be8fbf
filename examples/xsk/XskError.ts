/** What goes wrong with AF_XDP sockets. */
import * as Schema from "effect/Schema"
import { Errno } from "../../src/index.ts"

/** An error, by what was tried, the device and queue, and the kernel's number where it has refused. */
export class XskError extends Schema.TaggedError<XskError>()("XskError", {
  reason: Schema.Literals([
    /** An argument that cannot be right, before anything was tried. */
    "BadArgument",
    /** This process cannot call C functions, or has no such kernel. */
    "Unavailable",
    /** The kernel has refused a step; `errno` says how. */
    "Refused",
    /** The indices of a ring are further apart than its size: somebody else has written them. */
    "CorruptRing",
    /** A descriptor that names memory outside of the umem, or a frame that was not given to who returns it. */
    "CorruptDescriptor",
    /** There is no frame left, and none is on its way back. */
    "NoFrames",
    /** The socket, or its umem, is closed. */
    "Closed",
    /** The device is gone, or down for good. */
    "DeviceGone",
    /** The program on the device has no map called `xsks_map`. */
    "NoMap"
  ]),
  /** What was tried: `socket`, `register the umem`, `bind`, … */
  step: Schema.String,
  device: Schema.optionalKey(Schema.String),
  queue: Schema.optionalKey(Schema.Number),
  /** The kernel's error number by its name. */
  errno: Schema.optionalKey(Schema.String),
  detail: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.device === undefined ? "" : ` on ${this.device}, queue ${this.queue ?? 0}`
    const what = [this.errno, this.detail].filter((part) => part !== undefined).join(": ")
    return `${this.step}${where}: ${what === "" ? this.reason : what}${
      this.hint === undefined ? "" : ` (${this.hint})`
    }`
  }
}

/** Whether something that was thrown is such an error. */
export const isXskError = (thrown: unknown): thrown is XskError => thrown instanceof XskError

/** What can be done about a refusal, by the step and the error's name. */
const hints: Readonly<Record<string, string>> = {
  "socket EPERM": "AF_XDP sockets need CAP_NET_RAW",
  "socket EAFNOSUPPORT": "the kernel is built without CONFIG_XDP_SOCKETS",
  "register the umem EINVAL":
    "frames have 2048 bytes up to a page, a power of two unless unaligned, and the headroom leaves room for a packet",
  "register the umem ENOBUFS": "locked memory is limited: raise RLIMIT_MEMLOCK",
  "register the umem EPERM": "locked memory is limited: raise RLIMIT_MEMLOCK, or have CAP_IPC_LOCK",
  "map the umem ENOMEM": "huge pages must be set aside: /proc/sys/vm/nr_hugepages",
  "bind EBUSY": "another socket has the queue, with another umem",
  "bind EOPNOTSUPP": "the driver has no zero-copy, or not on this queue; copy mode always works",
  "bind EINVAL": "the queue does not exist, a ring is missing, or the kernel does not know a flag",
  "bind ENETDOWN": "the device is down",
  "bind ENODEV": "the device is in another network namespace"
}

/** A refusal: `result` is the error number with its sign changed. */
export const refused = (
  step: string,
  result: number,
  place?: { readonly device: string; readonly queue: number }
): XskError => {
  const errno = Errno.fromNumber(-result)
  const hint = hints[`${step} ${errno}`]
  return new XskError({
    reason: "Refused",
    step,
    errno,
    ...(place === undefined ? {} : { device: place.device, queue: place.queue }),
    ...(hint === undefined ? {} : { hint })
  })
}

/** An argument that cannot be right. */
export const badArgument = (step: string, detail: string, hint?: string): XskError =>
  new XskError({ reason: "BadArgument", step, detail, ...(hint === undefined ? {} : { hint }) })
