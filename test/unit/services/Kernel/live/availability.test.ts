import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { createRequire } from "node:module"
import * as Arena from "../../../../../src/services/Kernel/abi/Arena.ts"
import type * as Attr from "../../../../../src/services/Kernel/abi/Attr.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import { explain, probe } from "../../../../../src/services/Kernel/live/Availability.ts"
import { bpfNumber } from "../../../../../src/services/Kernel/sys/Platform.ts"
import * as Sys from "../../../../../src/services/Kernel/sys/Sys.ts"
import { facts, make, type Trace } from "./fakeSys.ts"

const status = (capabilities: string, seccomp = "0") => `Name:\tnode\nCapEff:\t${capabilities}\nSeccomp:\t${seccomp}\n`

const root = "000001ffffffffff"

const none = "0000000000000000"

const bpfOnly = "0000008000000000"

describe("bpfNumber", () => {
  it("is the architecture's", () => {
    assert.deepStrictEqual(bpfNumber("linux", "x64"), Result.succeed(321))
    assert.deepStrictEqual(bpfNumber("linux", "arm64"), Result.succeed(280))
    assert.deepStrictEqual(bpfNumber("linux", "s390x"), Result.succeed(351))
  })

  it("does not exist elsewhere, and says so", () => {
    const darwin = bpfNumber("darwin", "arm64")
    assert.match(Result.isFailure(darwin) ? darwin.failure.message : "", /system call of Linux; this is darwin/)
    const ia32 = bpfNumber("linux", "ia32")
    assert.strictEqual(Result.isFailure(ia32) && ia32.failure.reason, "UnknownArchitecture")
    assert.isTrue(Result.isFailure(bpfNumber("linux", "toString")))
  })
})

describe("the live kernel where there is none", () => {
  const broken = () => Sys.make("win32", "x64")

  it.effect("opens no session, and says why", () =>
    Effect.gen(function*() {
      const kernel = KernelLive.fromParts({ sys: broken, facts, architecture: "x64" })
      const error = yield* Effect.flip(Effect.scoped(kernel.session()))
      assert.strictEqual(error.errno, "ENOSYS")
      assert.match(error.hint ?? "", /this is win32; .*choose the simulated kernel/)
      // What stands in files can be asked all the same.
      const answers = yield* kernel.ask([{ _tag: "PossibleCpus" }])
      assert.deepStrictEqual(answers, { possibleCpus: { _tag: "Known", value: 2 } })
    }))

  it.effect("is not available", () =>
    Effect.gen(function*() {
      const answer = yield* probe(broken())
      assert.isTrue(!answer.available && /Linux/.test(answer.reason) && answer.hint !== "")
    }))

  it("costs nothing to import: no foreign function interface is loaded", () => {
    const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes("koffi"))
    assert.deepStrictEqual(loaded, [])
  })
})

describe("availability", () => {
  const reason = (
    errno: Parameters<typeof explain>[0],
    text: string,
    lockdown = "[none] integrity confidentiality\n"
  ) => explain(errno, { status: text, lockdown }).reason

  it("explains a refusal by what is known of the process", () => {
    assert.match(reason("EPERM", status(none)), /neither CAP_BPF nor CAP_SYS_ADMIN/)
    assert.match(reason("EPERM", status(root, "2")), /seccomp filter refuses/)
    assert.match(reason("EPERM", status(bpfOnly)), /although the process has the capabilities$/)
    assert.match(reason("EPERM", status(root), "none [integrity] confidentiality\n"), /locked down/)
    assert.match(reason("EPERM", ""), /although/)
    assert.match(reason("ENOSYS", status(root, "2")), /seccomp/)
    assert.match(reason("ENOSYS", status(root)), /CONFIG_BPF_SYSCALL/)
    assert.strictEqual(reason("ENOMEM", status(root)), "bpf(2) answers ENOMEM")
  })

  it.effect("is found out by loading a program of one type or another", () =>
    Effect.gen(function*() {
      const trace: Trace = []
      const unprivileged = make(
        (_, arena) => Arena.field(arena as Arena.Arena<typeof Attr.ProgLoad>, "prog_type") === 1 ? 5 : -numbers.EPERM,
        trace
      )
      assert.deepStrictEqual(yield* probe(Result.succeed(unprivileged)), { available: true })
      assert.deepStrictEqual(trace.at(-1), { _tag: "close", fd: 5 })
      const refused = yield* probe(Result.succeed(make(() => -numbers.EPERM, [])))
      assert.isTrue(!refused.available && /EPERM/.test(refused.reason))
    }))
})
