/**
 * Where bpf(2) exists and under which number.
 *
 * Source: the kernel's system call tables.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Why this process cannot make foreign calls at all: found out before any system call is tried. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  reason: Schema.Literals(["NotLinux", "UnknownArchitecture", "NoForeignCalls"]),
  detail: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** The number of bpf(2) by Node's name of the architecture. Only 64-bit ABIs: pointers in `union bpf_attr` are 64 bits. */
const bpfNumbers: ReadonlyMap<string, number> = new Map([
  ["x64", 321],
  ["arm64", 280],
  ["riscv64", 280],
  ["loong64", 280],
  ["ppc64", 361],
  ["s390x", 351]
])

/** The numbers of perf_event_open(2). */
const perfEventOpenNumbers: ReadonlyMap<string, number> = new Map([
  ["x64", 298],
  ["arm64", 241],
  ["riscv64", 241],
  ["loong64", 241],
  ["ppc64", 319],
  ["s390x", 331]
])

/** The number of perf_event_open(2) on an architecture, as Node names it. */
export const perfEventOpenNumber = (architecture: string): number | undefined => perfEventOpenNumbers.get(architecture)

/** The number of uprobe(2) on an architecture, as Node names it. */
export const uprobeNumber = (architecture: string): number | undefined => architecture === "x64" ? 336 : undefined

/** The number of bpf(2) for a platform and an architecture, both as Node names them. */
export const bpfNumber = (platform: string, architecture: string): Result.Result<number, Unavailable> => {
  if (platform !== "linux") {
    return Result.fail(
      new Unavailable({
        reason: "NotLinux",
        detail: `bpf(2) is a system call of Linux; this is ${platform}`,
        hint: "inspect, plan and link work everywhere; to run programs here, choose the simulated kernel"
      })
    )
  }
  const number = bpfNumbers.get(architecture)
  return number === undefined
    ? Result.fail(
      new Unavailable({
        reason: "UnknownArchitecture",
        detail: `the number of bpf(2) on ${architecture} is not known`,
        hint: `live kernels are supported on ${[...bpfNumbers.keys()].join(", ")}`
      })
    )
    : Result.succeed(number)
}
