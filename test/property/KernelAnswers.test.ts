/**
 * What the kernel answers is input: at any entry it may say EAGAIN, EINTR, ENOSPC, E2BIG or EPERM, once or from then on. A
 * load through the live session then ends in a loaded object or in that error, and gives back all that it took.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import { fromErrno } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import type { Sys } from "../../src/services/Kernel/sys/Sys.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import { mainCalls } from "../../src/stages/load/LoadPlan.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as FaultyMachine from "../support/FaultyMachine.ts"
import { runs } from "../support/Require.ts"
import { facts } from "../unit/services/Kernel/live/fakeSys.ts"
import { plannedFixtures } from "../unit/stages/Pipeline.ts"

/** How a load ended, and on what machine. */
interface Ended {
  readonly machine: FaultyMachine.FaultyMachine
  readonly result: Result.Result<unknown, Execute.ExecuteError>
}

/** Loads in listed order, so that the same entry is the same call every time. */
const load = async (
  planned: PlannedObject,
  fault: FaultyMachine.Fault | undefined,
  change: (sys: Sys) => Sys = (sys) => sys
): Promise<Ended> => {
  const machine = FaultyMachine.make(fault)
  const kernel = KernelLive.fromParts({
    sys: () => Result.succeed(change(machine.sys)),
    facts: { ...facts, vmlinux: () => Result.fail(fromErrno("VmlinuxTypes", "vmlinux", Errno.numbers.ENOENT)) },
    files: { read: () => Result.fail(Errno.numbers.ENOENT), list: () => Result.fail(Errno.numbers.ENOENT) },
    architecture: "x64"
  })
  const result = await Effect.runPromise(
    Execute.toLoaded(planned, { listedOrder: true }).pipe(
      Effect.provideService(Kernel, kernel),
      Effect.scoped,
      Effect.result
    )
  )
  return { machine, result }
}

/** Fixtures that this machine loads when nothing goes wrong, with the number of entries that it takes. Pins are files. */
const loadable = async () => {
  const found: Array<{ readonly name: string; readonly planned: PlannedObject; readonly entries: number }> = []
  for (const { name, planned } of plannedFixtures()) {
    if (planned.object.byteOrder !== "little" || mainCalls(planned.plan).some((call) => call._tag === "ObjPin")) {
      continue
    }
    const { machine, result } = await load(planned, undefined)
    if (Result.isSuccess(result)) found.push({ name, planned, entries: machine.entries() })
  }
  return found
}

const fixtures = await loadable()

const errnos = ["EAGAIN", "EINTR", "ENOSPC", "E2BIG", "EPERM"] as const

/** What is wrong with how a load with a fault ended; `undefined` when nothing is. */
const complaint = (
  { machine, result }: Ended,
  fault: FaultyMachine.Fault,
  errno: string
): string | undefined => {
  const [mistake] = machine.mistakes()
  if (mistake !== undefined) return mistake
  if (Result.isSuccess(result)) {
    // Types and bindings are optional, and a program that is refused is asked about again, with a log.
    return fault.times === "always" && machine.faulted.includes(Command.BPF_PROG_LOAD)
      ? "loaded all the same"
      : undefined
  }
  const error = result.failure
  if (error._tag !== "KernelError" && error._tag !== "VerifierError") return `not the kernel's: ${error.message}`
  if (error.errno !== errno) return `${error.errno} in place of ${errno}`
  // A disturbed call is made again.
  if (errno === "EINTR" && fault.times === "once") return "gave up after one EINTR"
  const about = error._tag === "KernelError" ? error.call : error.program
  return about === "" ? "nobody is named" : undefined
}

describe("any answer of the kernel", () => {
  it("is survived: all is given back, and the error is the kernel's", async () => {
    assert.isAtLeast(fixtures.length, 15)
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...fixtures),
        fc.nat(),
        fc.constantFrom(...errnos),
        fc.constantFrom("once" as const, "always" as const),
        async ({ entries, name, planned }, at, errno, times) => {
          const fault = { at: at % entries, errno: Errno.numbers[errno], times }
          assert.strictEqual(
            complaint(await load(planned, fault), fault, errno),
            undefined,
            `${name}, entry ${fault.at}`
          )
        }
      ),
      { numRuns: runs(150) }
    )
  })

  it("at every entry of one object", async () => {
    const small = fixtures.find(({ name }) => name === "tracepoint.bpf.o") ?? assert.fail("not loadable")
    for (let at = 0; at < small.entries; at++) {
      for (const errno of errnos) {
        for (const times of ["once", "always"] as const) {
          const fault = { at, errno: Errno.numbers[errno], times }
          const ended = await load(small.planned, fault)
          assert.strictEqual(complaint(ended, fault, errno), undefined, `${errno} ${times} at ${at}`)
        }
      }
    }
  })

  it("shows a session that forgets a descriptor", async () => {
    const [first] = fixtures
    if (first === undefined) return assert.fail("nothing loads")
    let forgotten = false
    const forgetful = (sys: Sys): Sys => ({
      ...sys,
      close: (fd) => {
        if (forgotten) sys.close(fd)
        forgotten = true
      }
    })
    const fault = { at: first.entries - 1, errno: Errno.numbers.EPERM, times: "always" } as const
    assert.match(complaint(await load(first.planned, fault, forgetful), fault, "EPERM") ?? "", /is open/)
  })
})

describe("files of the kernel", () => {
  /** What a machine has, as it is when nothing is cut. */
  const contents: Readonly<Record<string, string>> = {
    "/sys/devices/system/cpu/possible": "0-3,8,10-11\n",
    "/proc/kallsyms": "ffffffff81000000 T _text\nffffffff81000010 t vfs_read\t[mod]\n0000000000001000 d v.llvm.123\n",
    "/boot/config-6.1.0": "CONFIG_BPF=y\n# CONFIG_NO is not set\nCONFIG_HZ=250\nCONFIG_X=\"text\"\n",
    "/proc/version_signature": "Ubuntu 5.15.0-1.2 5.15.7\n"
  }

  /** What is known of that machine when its files end early. */
  const known = (lengths: (path: string, whole: number) => number) => {
    const read = (path: string) => {
      const text = contents[path]
      if (text === undefined) return Result.fail(Errno.numbers.ENOENT)
      return Result.succeed(new TextEncoder().encode(text.slice(0, lengths(path, text.length))))
    }
    const facts = Facts.fromSources({
      sys: () => Result.fail("none"),
      files: { read, list: () => Result.fail(Errno.numbers.ENOENT) },
      release: "6.1.0",
      version: "#1 SMP"
    })
    return {
      cpus: facts.possibleCpus(),
      version: facts.kernelVersion(),
      kconfig: facts.kconfig(),
      addresses: facts.addresses(["_text", "vfs_read", "v", "absent"])
    }
  }

  it("may end anywhere: what is read of them is less, or an error, and never something else", () => {
    const whole = known((_, length) => length)
    const addresses = Result.getOrThrow(whole.addresses).of
    const kconfig = Result.getOrThrow(whole.kconfig)
    assert.deepStrictEqual(whole.cpus, Result.succeed(7))
    assert.deepStrictEqual([addresses.get("_text"), addresses.get("v")], [0xffff_ffff_8100_0000n, 0x1000n])
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (a, b, c) => {
        const cut = known((path, length) =>
          (path.includes("cpu") ? a : path.includes("kallsyms") ? b : c) % (length + 1)
        )
        const seen = Result.isSuccess(cut.addresses) ? cut.addresses.success.of : new Map()
        for (const [name, address] of seen) {
          assert.isTrue(address === undefined || address === addresses.get(name), `${name} is elsewhere`)
        }
        const options = Result.isSuccess(cut.kconfig) ? [...cut.kconfig.success] : []
        // The last line may be cut in its value.
        for (const [key, value] of options.slice(0, -1)) assert.strictEqual(value, kconfig.get(key))
      }),
      { numRuns: runs(300) }
    )
  })
})
