/**
 * Relocation reports before the running kernel: programs that need what it does not have, compiled here. The verifier
 * refuses those that our report calls reachable, takes those that it calls guarded, and its complaints come back as the
 * relocation, map or function that is missing.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import type { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as CoreReport from "../../src/stages/relocate/CoreReport.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

const source = `
#include <linux/bpf.h>
#include <linux/version.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#ifndef bpf_ksym_exists
#define bpf_ksym_exists(symbol) (!!symbol)
#endif
#define __noinline __attribute__((noinline))

struct task_struct {
	int pid;
	long gone_with_the_wind;
} __attribute__((preserve_access_index));

struct task_struct___resized {
	short pid;
} __attribute__((preserve_access_index));

enum pid_type { PIDTYPE_OF_ANOTHER_WORLD = 5 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} left_out SEC(".maps");

const volatile bool use_missing = false;
const volatile bool use_map = false;
extern int LINUX_KERNEL_VERSION __kconfig;
extern int there_is_no_such_kfunc(int) __ksym __weak;
extern int nor_is_there_this_one(int) __ksym __weak;
long out;

SEC("raw_tp/sys_enter") int unguarded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	out = BPF_CORE_READ(task, pid);
	if (out == 1)
		return 0;
	out += BPF_CORE_READ(task, gone_with_the_wind);
	return 0;
}

SEC("raw_tp/sys_enter") int unguarded_value(void *ctx)
{
	return bpf_core_enum_value(enum pid_type, PIDTYPE_OF_ANOTHER_WORLD);
}

SEC("raw_tp/sys_enter") int guarded(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (bpf_core_field_exists(task->gone_with_the_wind))
		out = BPF_CORE_READ(task, gone_with_the_wind);
	return 0;
}

static __noinline int has_it(struct task_struct *task)
{
	return bpf_core_field_exists(task->gone_with_the_wind);
}

SEC("raw_tp/sys_enter") int guarded_by_function(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (has_it(task))
		out = BPF_CORE_READ(task, gone_with_the_wind);
	return 0;
}

SEC("raw_tp/sys_enter") int guarded_by_variable(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (use_missing)
		out = BPF_CORE_READ(task, gone_with_the_wind);
	return 0;
}

SEC("raw_tp/sys_enter") int guarded_by_version(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (LINUX_KERNEL_VERSION < KERNEL_VERSION(3, 0, 0))
		out = BPF_CORE_READ(task, gone_with_the_wind);
	return 0;
}

static __noinline long read_it(struct task_struct *task)
{
	return BPF_CORE_READ(task, gone_with_the_wind);
}

SEC("raw_tp/sys_enter") int unguarded_in_function(void *ctx)
{
	out = read_it((void *)bpf_get_current_task());
	return 0;
}

SEC("raw_tp/sys_enter") int guarded_kfunc(void *ctx)
{
	if (bpf_ksym_exists(there_is_no_such_kfunc))
		return there_is_no_such_kfunc(0);
	return 0;
}

SEC("raw_tp/sys_enter") int unguarded_kfunc(void *ctx)
{
	out = 1;
	return nor_is_there_this_one(0);
}

SEC("raw_tp/sys_enter") int maybe_map(void *ctx)
{
	__u32 key = 0;

	if (use_map)
		out = !bpf_map_lookup_elem(&left_out, &key);
	return 0;
}

SEC("xdp") int offset_of_missing(struct xdp_md *ctx)
{
	return bpf_core_field_offset(struct task_struct, gone_with_the_wind);
}

char LICENSE[] SEC("license") = "GPL";
`

/** The line that a text is on, counted from 1. */
const lineOf = (text: string, after = ""): number =>
  source.slice(0, source.indexOf(text, source.indexOf(after))).split("\n").length

const compiled = (cpu: string): BpfObject => {
  const folder = temporaryFolder()
  const path = Path.join(folder, "report.bpf.c")
  Fs.writeFileSync(path, source)
  const machine = run("cc", ["-dumpmachine"]).stdout.trim()
  const flags = ["-target", "bpf", `-mcpu=${cpu}`, "-g", "-O2", "-idirafter", `/usr/include/${machine}`]
  const done = run("clang", [...flags, "-c", path, "-o", `${path}.o`])
  assert.strictEqual(done.status, 0, done.stderr)
  return Result.getOrThrow(Open.fromBytes(new Uint8Array(Fs.readFileSync(`${path}.o`)), { path: "report.bpf.o" }))
}

/** The object with one program, and with everything else as it is. */
const only = (object: BpfObject, name: string): BpfObject =>
  object.programs.filter((program) => program.entry).reduce(
    (edited, program) => Result.getOrThrow(Edit.setProgram(edited, program.name, { autoload: program.name === name })),
    object
  )

type Kernels = Layer.Layer<Kernel, KernelError>

/** What becomes of a load, and the report that was made before. */
const loading = (object: BpfObject, kernel: Kernels = KernelLive.layer) =>
  Effect.gen(function*() {
    const relocated = yield* Relocate.relocate.run(object)
    const planned = yield* Plan.plan.run(relocated)
    const error = yield* Effect.flip(
      Effect.scoped(Effect.andThen(Execute.toLoaded(planned), Effect.fail({ _tag: "Loaded" } as const)))
    )
    return { error, entries: CoreReport.of(relocated).flatMap(({ entries }) => entries) }
  }).pipe(Effect.provide(kernel))

const poisoned = (entries: ReadonlyArray<CoreReport.CoreEntry>) =>
  entries.flatMap(({ outcome, path }) => outcome._tag === "Poisoned" ? [[path, outcome.verdict]] : [])

describeWith(
  { kind: "live", tools: ["clang", "cc"], files: [vmlinux] },
  "what programs need and the kernel does not have",
  () => {
    const gone = "struct task_struct.gone_with_the_wind"

    for (const cpu of ["v1", "v3"]) {
      const object = compiled(cpu)
      const load = (name: string, edit: (object: BpfObject) => BpfObject = (object) => object) =>
        loading(edit(only(object, name)))

      it.live(`${cpu}: an access that nothing guards is refused, with its name, line and what the kernel has`, () =>
        Effect.gen(function*() {
          const { entries, error } = yield* load("unguarded")
          assert.deepStrictEqual(poisoned(entries), [[gone, "reachable"]])
          if (error._tag !== "VerifierError") return assert.fail(error._tag)
          assert.strictEqual(error.relocation, `byte_off ${gone}`)
          assert.strictEqual(Path.basename(error.file ?? ""), "report.bpf.c")
          assert.isAtLeast(error.line ?? 0, lineOf("BPF_CORE_READ", "int unguarded("))
          assert.isAtMost(error.line ?? 0, lineOf("return 0;", "out += BPF_CORE_READ"))
          assert.match(
            error.summary,
            /^failed to resolve CO-RE relocation byte_off struct task_struct\.gone_with_the_wind at /
          )
          assert.match(error.summary, /the kernel's struct task_struct \[\d+\] has no member gone_with_the_wind/)
          assert.include(error.log, `${error.instruction}: <invalid CO-RE relocation>\n`)
          assert.match(error.hint ?? "", /bpf_core_field_exists\(struct task_struct, gone_with_the_wind\)/)
        }))

      it.live(`${cpu}: a value that the kernel's enum does not have`, () =>
        Effect.gen(function*() {
          const { entries, error } = yield* load("unguarded_value")
          assert.deepStrictEqual(poisoned(entries), [["enum pid_type::PIDTYPE_OF_ANOTHER_WORLD", "reachable"]])
          if (error._tag !== "VerifierError") return assert.fail(error._tag)
          assert.match(error.hint ?? "", /bpf_core_enum_value_exists\(enum pid_type, PIDTYPE_OF_ANOTHER_WORLD\)/)
        }))

      for (const name of ["guarded", "guarded_by_function", "guarded_by_variable", "guarded_by_version"]) {
        it.live(`${cpu}: ${name} loads`, () =>
          Effect.gen(function*() {
            const { entries, error } = yield* load(name)
            assert.strictEqual(error._tag, "Loaded")
            assert.deepStrictEqual(poisoned(entries), [[gone, "guarded"]])
          }))
      }

      it.live(`${cpu}: a variable that is set otherwise guards no more`, () =>
        Effect.gen(function*() {
          const { entries, error } = yield* load(
            "guarded_by_variable",
            (object) => Result.getOrThrow(Edit.setVariable(object, "use_missing", true))
          )
          assert.deepStrictEqual(poisoned(entries), [[gone, "reachable"]])
          assert.strictEqual(error._tag, "VerifierError")
        }))

      it.live(`${cpu}: the function that has the access is named`, () =>
        Effect.gen(function*() {
          const { entries, error } = yield* load("unguarded_in_function")
          const entry = entries.find(({ outcome }) => outcome._tag === "Poisoned")
          assert.deepInclude(entry, { program: "unguarded_in_function", function: "read_it" })
          // The compiler counts the offset to the first line of the function or to the one that reads.
          const line = entry?.source?.line ?? 0
          assert.isTrue(
            line === lineOf("static __noinline long read_it") || line === lineOf("return BPF", "long read_it")
          )
          assert.match(entry?.source?.text ?? "", /read_it|BPF_CORE_READ/)
          assert.isAbove(entry?.slot ?? 0, entry?.functionSlot ?? 0)
          if (error._tag !== "VerifierError") return assert.fail(error._tag)
          assert.deepInclude(error, { relocation: `byte_off ${gone}`, line })
        }))

      it.live(`${cpu}: kernel functions that are missing`, () =>
        Effect.gen(function*() {
          assert.strictEqual((yield* load("guarded_kfunc")).error._tag, "Loaded")
          const { error } = yield* load("unguarded_kfunc")
          if (error._tag !== "VerifierError") return assert.fail(error._tag)
          assert.match(error.summary, /^kfunc 'nor_is_there_this_one' is referenced but wasn't resolved\n/)
          assert.match(error.hint ?? "", /bpf_ksym_exists/)
        }))

      it.live(`${cpu}: maps that are left out`, () =>
        Effect.gen(function*() {
          const without = (object: BpfObject) =>
            Result.getOrThrow(Edit.setMap(object, "left_out", { autocreate: false }))
          assert.strictEqual((yield* load("maybe_map", without)).error._tag, "Loaded")
          const { error } = yield* load(
            "maybe_map",
            (object) => Result.getOrThrow(Edit.setVariable(without(object), "use_map", true))
          )
          if (error._tag !== "VerifierError") return assert.fail(error._tag)
          assert.match(error.summary, /^BPF map 'left_out' is referenced but wasn't created\n/)
          assert.match(error.hint ?? "", /create the map/)
        }))

      it.live(`${cpu}: a simulated kernel, which verifies nothing, says the same when it comes there`, () =>
        Effect.gen(function*() {
          const types = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux))))
          const fault = yield* Effect.gen(function*() {
            const relocated = yield* Relocate.relocate.run(only(object, "offset_of_missing"))
            const loaded = yield* Execute.toLoaded(yield* Plan.plan.run(relocated))
            const position = object.programs.findIndex((program) => program.name === "offset_of_missing")
            return yield* Effect.flip(loaded.session.call({
              _tag: "ProgTestRun",
              prog: Ref.prog(position),
              dataIn: new Uint8Array(64),
              dataOutSize: 0,
              contextOutSize: 0,
              repeat: 1,
              flags: 0,
              cpu: 0,
              batchSize: 0
            }))
          }).pipe(Effect.scoped, Effect.provide(KernelSimulated.layer({ types })))
          if (fault._tag !== "ProgramFault") return assert.fail(fault._tag)
          assert.deepInclude(fault, { reason: "Missing", program: "offset_of_missi" })
          assert.match(
            fault.detail,
            /byte_off struct task_struct\.gone_with_the_wind at report\.bpf\.c:\d+; the kernel's/
          )
          assert.match(fault.hint ?? "", /bpf_core_field_exists/)
        }))
    }
  }
)
