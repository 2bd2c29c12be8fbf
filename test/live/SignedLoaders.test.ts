/**
 * Loaders that are recorded to be signed, on the running kernel: what they check themselves, and what the kernel says of a
 * signature. Keys and certificates are openssl's.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { sign } from "../../src/cli/gen/Signing.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import type { LoaderProgram, Signed } from "../../src/stages/gen/LoaderProgram.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture, temporaryFolder } from "../support/Require.ts"

/** The loader of a fixture, to be signed. */
const record = (covers: Signed["covers"]) =>
  Effect.gen(function*() {
    const object = Result.getOrThrow(Open.fromBytes(fixture("xdp_firewall.bpf.o"), { path: "xdp_firewall.bpf.o" }))
    const { kernel } = yield* KernelRecording.make
    const planned = yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
      Effect.provideService(Kernel, kernel)
    )
    return yield* KernelRecording.record(planned, { signed: covers })
  })

/** The outcome of a run on the live kernel, which leaves no descriptor behind. */
const outcome = (loader: LoaderProgram, keyring?: "none") =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const result = yield* Effect.result(Effect.scoped(
      Effect.map(
        runLoader(loader, keyring === undefined ? {} : { keyring }),
        ({ program }) => program("xdp_firewall") !== undefined
      )
    )).pipe(Effect.provide(KernelLive.layer))
    assert.deepStrictEqual(openDescriptors(), before)
    return result
  })

// Maps for one program alone, and digests of what is in them, came with Linux 6.18.
describeWith({ kind: "live", linux: "6.18" }, "loaders that are recorded to be signed", () => {
  it.live("run unsigned, from a map that no other program may use", () =>
    Effect.gen(function*() {
      for (const covers of ["insns_and_data", "insns"] as const) {
        assert.deepStrictEqual(yield* outcome(yield* record(covers), "none"), Result.succeed(true), covers)
      }
    }))

  it.live("the older form refuses data that is not its own; the newer one leaves that to the kernel's signature", () =>
    Effect.gen(function*() {
      const changed = (loader: LoaderProgram): LoaderProgram => {
        // The last bytes are padding, which nothing reads.
        const at = loader.data.findLastIndex((byte) => byte !== 0)
        return { ...loader, data: loader.data.with(at, (loader.data[at] ?? 0) ^ 0x40) }
      }
      const older = yield* outcome(changed(yield* record("insns")), "none")
      assert.deepInclude(Result.isFailure(older) ? older.failure : {}, { _tag: "LoaderError", errno: "EINVAL" })
    }))
})

describeWith({ kind: "live", linux: "6.18", tools: ["openssl"] }, "signed loaders", () => {
  it.live("are taken, or refused with what the kernel lacks", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" })
      openssl("genrsa", "-out", "key.pem", "2048")
      openssl("req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=loaders", "-days", "2", "-out", "cert.pem")
      const read = (name: string) => new Uint8Array(Fs.readFileSync(Path.join(folder, name)))
      for (const covers of ["insns_and_data", "insns"] as const) {
        const signer = { key: read("key.pem"), certificate: read("cert.pem") }
        const loader = Result.getOrThrow(sign(yield* record(covers), signer))
        const result = yield* outcome(loader)
        const error = Result.isFailure(result) ? result.failure : undefined
        // Nobody has put this certificate into a keyring: a kernel that looks finds no key.
        const errno = error !== undefined && "errno" in error ? error.errno : "taken"
        assert.include(["EOPNOTSUPP", "ENOKEY", "EKEYREJECTED"], errno)
        assert.match(error !== undefined && "hint" in error ? error.hint ?? "" : "", /signature|keyring/)
        console.log(`a signature over ${covers}: ${errno}`)
      }
    }))
})
