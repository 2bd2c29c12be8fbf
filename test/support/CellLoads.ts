/**
 * Cells of the compatibility matrix, held against loads: what a kernel's types say of an object is what that kernel does with
 * it. A guarded one is loaded, a fatal one is refused, where a CO-RE relocation is why: at its instruction.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Compatibility from "../../src/diagnostics/Compatibility.ts"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import * as CoreReport from "../../src/stages/relocate/CoreReport.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Loads from "./RequirementLoads.ts"
import { corpusFolder } from "./Require.ts"

/** Where a guest has the objects. */
export const prebuilt = "/vm/cells"

/** Objects of the corpus of which some programs lack something on Debian's kernels 6.1 and 6.12. */
export const objects: ReadonlyArray<string> = [
  "btf_type_tag_user.o",
  "core_kern.o",
  "core_kern_overflow.o",
  "get_branch_snapshot.o",
  "kfunc_call_destructive.o",
  "kfunc_call_race.o",
  "ksym_race.o",
  "map_kptr.o",
  "perf_bperf_cgroup.o",
  "perf_off_cpu.o",
  "test_autoload.o",
  "test_bpf_nf.o",
  "test_core_autosize.o",
  "test_core_extern.o",
  "test_core_reloc_arrays.o",
  "test_core_reloc_bitfields_direct.o",
  "test_core_reloc_bitfields_probed.o",
  "test_core_reloc_enum64val.o",
  "test_core_reloc_enumval.o",
  "test_core_reloc_existence.o",
  "test_core_reloc_flavors.o",
  "test_core_reloc_ints.o",
  "test_core_reloc_misc.o",
  "test_core_reloc_mods.o",
  "test_core_reloc_module.o",
  "test_core_reloc_nesting.o",
  "test_core_reloc_primitives.o",
  "test_core_reloc_ptr_as_arr.o",
  "test_core_reloc_size.o",
  "test_core_reloc_type_based.o",
  "test_core_reloc_type_id.o",
  "test_ksyms_module.o",
  "test_ksyms_weak.o",
  "test_log_fixup.o",
  "test_module_attach.o"
]

/** An object's path, here or in a guest. */
export const objectPath = (name: string): string => {
  const ready = Path.join(prebuilt, name)
  return Fs.existsSync(ready) ? ready : Path.join(corpusFolder, "objects", name)
}

/** The fixtures that refer to types and symbols of the kernel: their programs are judged one by one, too. */
const referring = /^(core_|externs|ksyms|struct_ops|usdt)/

/** All fixtures and these objects, whole and each program alone. */
export const cases = (): ReadonlyArray<Loads.Case> => [
  ...Loads.cases().filter(({ name }) => !name.includes(":") || referring.test(name)),
  ...objects.flatMap((name) => {
    const path = objectPath(name)
    if (!Fs.existsSync(path)) return []
    // The verifier takes long over its largest programs, which are judged with the whole.
    return Loads.casesOf(name, new Uint8Array(Fs.readFileSync(path))).filter((each) =>
      !each.name.startsWith("core_kern.o:balancer_ingress")
    )
  })
]

/** The running kernel as a matrix sees it: its types, those of its modules, and nothing else. */
export const targetOf = Effect.fnUntraced(function*(kernel: KernelShape) {
  const { moduleTypes, vmlinuxTypes } = yield* kernel.ask([{ _tag: "VmlinuxTypes" }, { _tag: "ModuleTypes" }])
  if (vmlinuxTypes?._tag !== "Known" || moduleTypes?._tag !== "Known") throw new Error("the kernel shows its types")
  const modules = moduleTypes.value.map(({ btf, name, problem = "" }): KernelProfile.ProfileModule => ({
    name,
    types: () => btf === undefined ? Result.fail(problem) : Result.succeed(btf)
  }))
  const target = Compatibility.target("running", { ...KernelProfile.fromTypesAlone(vmlinuxTypes.value), modules })
  if (target === undefined) throw new Error("a kernel has types")
  return target
})

/** Rules about CO-RE relocations: the verifier is what refuses. */
const relocating: ReadonlySet<Compatibility.Rule> = new Set([
  "field-missing",
  "field-resized",
  "enumerator-missing",
  "type-missing",
  "type-different"
])

/** A case whose cell and load disagree for a reason that types cannot tell. */
interface Exception {
  readonly names: RegExp
  readonly verdict: Compatibility.Verdict
  readonly says: RegExp
  readonly because: string
}

/** All of them. */
export const exceptions: ReadonlyArray<Exception> = []

/** The instruction at which the verifier came to something that is missing, by its own log. */
const poisonedAt = (log: string): number | undefined => {
  const [, slot] = /^(\d+): <invalid CO-RE relocation>/m.exec(log) ?? []
  return slot === undefined ? undefined : Number(slot)
}

const isVerifierError = (error: unknown): error is { readonly program: string; readonly log: string } =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "VerifierError"

/** Whether a refusal is at an instruction that a fatal finding is about; what is wrong where it is not. */
const isAtFinding = Effect.fnUntraced(function*(
  kernel: KernelShape,
  { object }: Loads.Case,
  cell: Compatibility.Cell,
  error: unknown
) {
  if (!isVerifierError(error)) return `refused by something else than the verifier: ${Loads.messageOf(error)}`
  const slot = poisonedAt(error.log)
  if (slot === undefined) return `the log names no relocation: ${Loads.messageOf(error)}`
  const relocated = yield* Loads.provided(kernel, Relocate.relocate.run(object))
  const entry = CoreReport.of(relocated).find(({ program }) => program === error.program)
    ?.entries.find((each) => each.slot === slot)
  if (entry === undefined) return `no relocation is at ${slot} of ${error.program}`
  const found = cell.findings.some((finding) =>
    finding.verdict === "fatal" && relocating.has(finding.rule) && finding.subject === entry.path &&
    finding.programs.includes(error.program) && finding.function === entry.function &&
    (finding.slot === entry.functionSlot || finding.source?.line === entry.source?.line)
  )
  return found ? undefined : `no finding is about ${entry.path} at ${slot} of ${error.program}`
})

/** Whether a cell is what it is for programs that the load takes, and not for others of the object alone. */
const isAboutLoad = ({ findings, verdict }: Compatibility.Cell): boolean =>
  findings.some((finding) => finding.verdict === verdict && !finding.optional)

/**
 * Judges the guarded and the fatal cells of the running kernel, of whole objects and of programs alone; answers what is wrong,
 * and how many of each verdict there were. Programs alone whose cells are guarded for the sake of others are left aside.
 */
export const judge = Effect.fnUntraced(function*(kernel: KernelShape, all: ReadonlyArray<Loads.Case>) {
  const target = yield* targetOf(kernel)
  const wrong: Array<string> = []
  const counts = { guarded: 0, fatal: 0, atInstruction: 0, excepted: 0 }
  for (const each of all) {
    const cell = Compatibility.check(Compatibility.prepare(each.object), target)
    const { verdict } = cell
    if (verdict === "green" || verdict === "unknown") continue
    if (each.name.includes(":") && !isAboutLoad(cell)) continue
    const error = yield* Loads.load(kernel, each.object)
    let problem: string | undefined
    if (verdict === "guarded") problem = error === undefined ? undefined : Loads.messageOf(error)
    else if (error === undefined) {
      const [first] = cell.findings
      problem = `it was loaded, in spite of ${first?.subject}: ${first?.detail}`
    } else {
      const causes = cell.findings.filter((finding) => finding.verdict === "fatal")
      if (causes.every(({ rule }) => relocating.has(rule))) {
        problem = yield* isAtFinding(kernel, each, cell, error)
        if (problem === undefined) counts.atInstruction++
      }
    }
    const says = problem
    if (says === undefined) counts[verdict]++
    else if (exceptions.some((of) => of.verdict === verdict && of.names.test(each.name) && of.says.test(says))) {
      counts.excepted++
    } else wrong.push(`${verdict} ${each.name}: ${says}`)
  }
  const text =
    `cells of ${all.length} objects and programs: ${counts.guarded} guarded and loaded; ${counts.fatal} fatal and ` +
    `refused, ${counts.atInstruction} of them at the instruction of a relocation; ${counts.excepted} excepted; ` +
    `${wrong.length} wrong`
  return { wrong, counts, text }
})
