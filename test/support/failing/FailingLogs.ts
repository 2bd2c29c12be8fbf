/**
 * Logs of programs that the verifier of the running kernel refuses: the kernel's own tests of Linux 6.1, those written as
 * instructions and those compiled from C. Nothing of them is committed: the sources are those that `corpus.sh` unpacks.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Kernel, type KernelShape } from "../../../src/services/Kernel/Kernel.ts"
import * as Execute from "../../../src/stages/load/Execute.ts"
import * as Plan from "../../../src/stages/load/Plan.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import * as Relocate from "../../../src/stages/relocate/Relocate.ts"
import { corpusFolder, repository, run, runFolder } from "../Require.ts"

/** A refusal: the name of the test, or `object.o:program`. */
export interface Failing {
  readonly name: string
  readonly errno: number
  readonly log: string
}

/** Where a guest has what was built outside: the gatherer, and the objects. */
export const prebuilt = "/vm/failing"

const sources = Path.join(corpusFolder, "src/tools/testing/selftests/bpf")

/** What the tests need of the machine, for `describeWith`. */
export const needs: { readonly tools: ReadonlyArray<string>; readonly files: ReadonlyArray<string> } =
  Fs.existsSync(Path.join(prebuilt, "gather")) ? { tools: [], files: [] } : { tools: ["clang"], files: [sources] }

/** Whether the gatherer can be built here. */
export const isAvailable = (): boolean => Fs.existsSync(sources)

/** Objects of which programs are meant to fail, or that this kernel or another refuses. */
export const objects: ReadonlyArray<string> = [
  "bpf_dctcp_release.o",
  "bpf_iter_test_kern3.o",
  "bpf_iter_test_kern6.o",
  "bpf_tcp_nogpl.o",
  "cgroup_getset_retval_hooks.o",
  "dynptr_fail.o",
  "find_vma_fail1.o",
  "find_vma_fail2.o",
  "for_each_map_elem_write_key.o",
  "kfunc_call_fail.o",
  "map_kptr_fail.o",
  "strncmp_test.o",
  "tcp_ca_unsupp_cong_op.o",
  "tcp_ca_write_sk_pacing.o",
  "test_bpf_nf_fail.o",
  "test_core_autosize.o",
  "test_core_reloc_arrays.o",
  "test_core_reloc_enumval.o",
  "test_core_reloc_ints.o",
  "test_get_stack_rawtp_err.o",
  "test_global_func1.o",
  "test_global_func2.o",
  "test_global_func3.o",
  "test_global_func5.o",
  "test_global_func6.o",
  "test_global_func7.o",
  "test_global_func10.o",
  "test_global_func11.o",
  "test_global_func12.o",
  "test_global_func13.o",
  "test_global_func14.o",
  "test_global_func15.o",
  "test_global_func17.o",
  "test_helper_restricted.o",
  "test_ksyms_btf_null_check.o",
  "test_ksyms_btf_write_check.o",
  "test_log_buf.o",
  "test_log_fixup.o",
  "test_sk_lookup_kern.o",
  "test_sockmap_invalid_update.o",
  "user_ringbuf_fail.o"
]

/** Builds the gatherer, without shared libraries, into this folder. */
const build = (folder: string): void => {
  // The tests are named one by one, as their own makefile does.
  Fs.mkdirSync(Path.join(folder, "verifier"))
  const tests = Fs.readdirSync(Path.join(sources, "verifier")).filter((name) => name.endsWith(".c")).sort()
  Fs.writeFileSync(
    Path.join(folder, "verifier/tests.h"),
    tests.map((name) => `#include "${Path.join(sources, "verifier", name)}"\n`).join("")
  )
  const include = Path.join(corpusFolder, "src/tools/include")
  const done = run("clang", [
    "-w",
    "-O1",
    "-static",
    "-o",
    Path.join(folder, "gather"),
    Path.join(repository, "test/support/failing/gather.c"),
    Path.join(sources, "cap_helpers.c"),
    `-I${folder}`,
    `-I${sources}`,
    "-idirafter",
    include,
    "-idirafter",
    Path.join(include, "uapi"),
    "-lbpf",
    "-lelf",
    "-lz"
  ])
  if (done.status !== 0) throw new Error(`the gatherer does not build: ${done.stderr}`)
}

/** The gatherer, built where it is not there yet. */
export const gatherer = (): string => {
  const ready = Path.join(prebuilt, "gather")
  return Fs.existsSync(ready) ? ready : Path.join(runFolder("failing", build), "gather")
}

/** An object's path, here or in a guest. */
export const objectPath = (name: string): string => {
  const ready = Path.join(prebuilt, name)
  return Fs.existsSync(ready) ? ready : Path.join(corpusFolder, "objects", name)
}

const Line = Schema.Struct({
  name: Schema.String,
  errno: Schema.Number,
  log: Schema.String
})

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Line))

/** The logs of the tests that are written as instructions; those without a log, which other checks refuse, are left out. */
export const ofInstructions = (): ReadonlyArray<Failing> => {
  const done = run(gatherer(), [], { timeoutMilliseconds: 600_000 })
  return done.stdout.split("\n").filter((line) => line.startsWith("@@"))
    .map((line) => decode(line.slice(2)))
    .filter(({ log }) => log.trim() !== "")
}

/** The logs of the programs that are compiled from C, each loaded alone. */
export const ofObjects = Effect.fnUntraced(function*(kernel: KernelShape) {
  const found: Array<Failing> = []
  for (const name of objects) {
    const path = objectPath(name)
    if (!Fs.existsSync(path)) continue
    const opened = Open.fromBytes(Fs.readFileSync(path), { path: name })
    if (Result.isFailure(opened)) continue
    const object = opened.success
    for (const [index, program] of object.programs.entries()) {
      const only = { ...object, programs: object.programs.map((each, at) => ({ ...each, autoload: at === index })) }
      const loaded = yield* Effect.result(
        Effect.scoped(
          Relocate.relocate.run(only).pipe(
            Effect.flatMap((relocated) => Plan.plan.run(relocated)),
            Effect.flatMap((planned) => Execute.toLoaded(planned))
          )
        ).pipe(Effect.provideService(Kernel, kernel))
      )
      if (Result.isFailure(loaded) && loaded.failure._tag === "VerifierError" && loaded.failure.log.trim() !== "") {
        found.push({
          name: `${name}:${program.name}`,
          errno: loaded.failure.errnoNumber,
          log: loaded.failure.log
        })
      }
    }
  }
  return found
})
