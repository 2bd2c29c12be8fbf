/** A snapshot of the running kernel stands for it: plans are the same, and as anybody else it can be taken. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { planning } from "../../src/cli/Plan.ts"
import { planDocument } from "../../src/cli/json/PlanDocument.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import * as KernelProfiled from "../../src/services/Kernel/KernelProfiled.ts"
import * as ProfileFolder from "../../src/services/Kernel/live/ProfileFolder.ts"
import * as Snapshot from "../../src/services/Kernel/live/Snapshot.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { check } from "../support/Documents.ts"
import { allFixtures, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

/** Where symbols are is not in a profile; a plan from the running kernel has it. */
const withoutAddresses = (document: unknown): unknown =>
  JSON.parse(JSON.stringify(document, (key, value: unknown) => {
    if (key !== "resolved") return value
    return typeof value === "object" && value !== null && "address" in value ? undefined : value
  }))

/** The steps of the plan for a fixture, or what is in the way of one. */
const planFor = (name: string, kernel: KernelShape) =>
  Effect.map(
    Effect.result(Effect.flatMap(
      Effect.fromResult(Open.fromBytes(fixture(name), { path: name })),
      (object) => planning({}).run(object).pipe(Effect.provideService(Kernel, kernel))
    )),
    Result.match({
      onFailure: (error): unknown => error.message,
      onSuccess: (planned): unknown => {
        const document: unknown = JSON.parse(JSON.stringify(planDocument(planned, "", name)))
        return withoutAddresses(document)
      }
    })
  )

describeWith({ kind: "live", files: ["/sys/kernel/btf/vmlinux"] }, "a snapshot of the running kernel", () => {
  it.live("gives the plans of the running kernel, for every fixture", () =>
    Effect.gen(function*() {
      const folder = Path.join(temporaryFolder(), "profile")
      const taken = yield* Snapshot.take({ modules: true, symbols: true })
      yield* ProfileFolder.write(folder, KernelProfile.encode(taken))
      const profile = yield* ProfileFolder.open(folder)
      assert.deepStrictEqual(
        profile.missing,
        Rights.addresses() ? {} : { symbols: "addresses are hidden: which names several symbols have is not marked" }
      )
      const { kernel } = yield* KernelProfiled.make(profile)
      const live = yield* KernelLive.make
      let planned = 0
      for (const name of allFixtures()) {
        const expected = yield* planFor(name, live)
        assert.deepStrictEqual(yield* planFor(name, kernel), expected, name)
        if (typeof expected !== "string") planned++
      }
      assert.isAbove(planned, 15)
    }))

  it.live("named fault: of another kernel the plans differ", () =>
    Effect.gen(function*() {
      const taken = yield* Snapshot.take({ symbols: true })
      const { kernel } = yield* KernelProfiled.make({ ...taken, possibleCpus: 77, configuration: "CONFIG_HZ=1\n" })
      const live = yield* KernelLive.make
      for (const name of ["events.bpf.o", "externs.bpf.o"]) {
        assert.notDeepEqual(yield* planFor(name, kernel), yield* planFor(name, live), name)
      }
    }))

  it.live("has the types as the kernel shows them, whichever way they were read", () =>
    Effect.gen(function*() {
      const { vmlinux } = yield* Snapshot.take()
      assert.isTrue(
        Buffer.compare(Fs.readFileSync("/sys/kernel/btf/vmlinux"), vmlinux?.bytes ?? new Uint8Array()) === 0
      )
    }))
})

/** Runs as the user that owns nothing. */
const asNobody = (cwd: string, ...args: ReadonlyArray<string>) =>
  run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", ...args], {
    cwd,
    env: { FORCE_COLOR: "0", NODE_NO_WARNINGS: "1", HOME: cwd }
  })

describeWith({ kind: "live", tools: ["setpriv"], root: true }, "a snapshot without privileges", () => {
  it("is taken of all that everybody may read, says what is missing, and serves for plans", () => {
    const folder = temporaryFolder()
    Fs.chmodSync(folder, 0o777)
    const bin = Path.join(repository, "src/bin.ts")
    const taken = asNobody(
      folder,
      process.execPath,
      bin,
      "kernel",
      "snapshot",
      "profile",
      "--symbols",
      "--modules",
      "--json"
    )
    assert.deepStrictEqual({ status: taken.status, stderr: taken.stderr }, { status: 0, stderr: "" })
    check(["kernel", "snapshot", "--json"], taken)
    const document = JSON.parse(taken.stdout)
    assert.strictEqual(document.release, Os.release())
    assert.isAbove(document.btf.types, 10_000)
    assert.isAbove(document.symbols, 1000)
    assert.match(document.missing["features.BpfCookie"], /EPERM/)
    // Types that the kernel shows tell of it all the same.
    assert.strictEqual(document.features.BpfCookie, true)
    assert.strictEqual(Fs.statSync(Path.join(folder, "profile")).uid, 65_534)
    for (const name of ["core_reads.bpf.o", "events.bpf.o"]) {
      const object = Path.join(repository, "test/fixtures", name)
      const plan = asNobody(folder, process.execPath, bin, "plan", object, "--kernel", "profile", "--json")
      assert.strictEqual(plan.status, 0, plan.stderr)
      check(["plan", "--json"], plan)
      const root = run(process.execPath, [bin, "plan", object, "--json"], { env: { NODE_NO_WARNINGS: "1" } })
      assert.deepStrictEqual(JSON.parse(plan.stdout).steps, JSON.parse(root.stdout).steps, name)
    }
    const refused = asNobody(folder, process.execPath, bin, "kernel", "snapshot", "/root/profile")
    assert.strictEqual(refused.status, 1)
    assert.match(refused.stderr, /\/root\/profile: permission denied/)
  })
})
