import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as Encode from "../../src/insn/Encode.ts"
import { BPF_W } from "../../src/insn/InsnConstants.ts"
import * as Kernel from "../../src/services/Kernel/Kernel.ts"
import type { InfoRecords } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as Info from "../../src/stages/relocate/Info.ts"
import * as Layout from "../../src/stages/relocate/Layout.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Stage from "../../src/stages/Stage.ts"
import type { Case } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

interface Work {
  readonly insns: Uint8Array
  readonly records: InfoRecords
  readonly local: Btf.Btf
}

const vmlinux = "/sys/kernel/btf/vmlinux"

/** The named members of a struct that are integers or pointers. */
const numbersOf = (kernel: Btf.Btf, type: Btf.BtfType): ReadonlyArray<Btf.Member> =>
  type._tag !== "Struct" ? [] : type.members.filter((member) => {
    const kind = Btf.kindOf(kernel, Btf.skipModifiersAndTypedefs(kernel, member.type))
    return member.name !== "" && member.bitfieldSize === 0 && (kind === Btf.BTF_KIND_INT || kind === Btf.BTF_KIND_PTR)
  })

/**
 * An object that reads four fields of each of so many of the kernel's structs, or of the one of this name; it believes
 * them to lie elsewhere.
 */
const reading = (kernel: Btf.Btf, wanted: number, only?: string): Work => {
  const empty = Result.getOrThrow(Btf.parse(emptyBlob(), { pointerSize: 8 }))
  const editor = BtfEdit.edit(empty)
  const int = editor.addInt("unsigned long", 8, 0)
  const pointer = editor.addPtr(0)
  const types: Array<number> = []
  const seen = new Set<string>()
  for (let id = 1; id < kernel.endId && types.length < wanted; id++) {
    if (Btf.kindOf(kernel, id) !== Btf.BTF_KIND_STRUCT) continue
    const type = Btf.typeOf(kernel, id)
    const numbers = numbersOf(kernel, type).slice(0, 4)
    if (
      type._tag !== "Struct" || type.name !== (only ?? type.name) || type.name === "" || numbers.length < 4 ||
      seen.has(type.name)
    ) continue
    // Names that only one struct has: others are ambiguous.
    if (Btf.find(kernel, type.name, Btf.BTF_KIND_STRUCT)._tag !== "One") continue
    seen.add(type.name)
    types.push(editor.addStruct(
      type.name,
      32,
      numbers.map((member, index) => {
        const kind = Btf.kindOf(kernel, Btf.skipModifiersAndTypedefs(kernel, member.type))
        return {
          name: member.name,
          type: kind === Btf.BTF_KIND_PTR ? pointer : int,
          bitOffset: index * 64,
          bitfieldSize: 0
        }
      })
    ))
  }
  const accesses = ["0:0", "0:1", "0:2", "0:3"].map((text) => editor.addString(text))
  const local = Result.getOrThrow(editor.finish())
  const records = new Uint8Array(types.length * 64)
  const view = new DataView(records.buffer)
  const insns: Array<Uint8Array> = []
  for (const type of types) {
    for (const [index, access] of accesses.entries()) {
      const at = insns.length
      const words = [at * 8, type, access, 0]
      words.forEach((word, field) => view.setUint32(at * 16 + field * 4, word, true))
      insns.push(Encode.alu64Imm(0, 1, index * 8))
    }
  }
  return { insns: Encode.program(...insns), records: { recordSize: 16, records }, local }
}

const emptyBlob = (): Uint8Array => {
  const bytes = new Uint8Array(25)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, Btf.BTF_MAGIC, true)
  view.setUint8(2, Btf.BTF_VERSION)
  view.setUint32(4, 24, true)
  view.setUint32(20, 1, true)
  return bytes
}

const folder = Path.join(import.meta.dirname, "../../test/fixtures")

/** The fixtures that have CO-RE records, opened. */
const fixtures = (): ReadonlyArray<
  { readonly path: string; readonly bytes: Uint8Array; readonly object: Open.BpfObject }
> =>
  Fs.readdirSync(folder).filter((name) => name.endsWith(".bpf.o")).flatMap((name) => {
    const path = Path.join(folder, name)
    const bytes = new Uint8Array(Fs.readFileSync(path))
    const opened = Open.fromBytes(bytes, { path })
    return Result.isSuccess(opened) && opened.success.btfExt?.coreRelocations !== undefined
      ? [{ path, bytes, object: opened.success }]
      : []
  })

/** The only program of an object. */
const programOf = (object: Open.BpfObject): Work => {
  const { insns, layout } = Layout.layOut(object, 0)
  const { records } = Info.pick(object, Info.index(object.btfExt?.coreRelocations, "little"), layout, "bytes")
  if (records === undefined || object.btf === undefined) throw new Error(`${object.name} has no CO-RE records`)
  return { insns, records, local: object.btf }
}

const run = ({ insns, local, records }: Work, target: Core.CoreTarget): Core.Relocated =>
  Result.getOrThrow(Core.relocate(insns, records, local, target))

/** One load of `len`, by an object that believes it to be the first member. */
const oneField = (): Work => {
  const editor = BtfEdit.make()
  const type = editor.addInt("unsigned int", 4, 0)
  const struct = editor.addStruct("sk_buff", 4, [{ name: "len", type, bitOffset: 0, bitfieldSize: 0 }])
  const access = editor.addString("0:0")
  const records = new Uint8Array(16)
  const view = new DataView(records.buffer)
  for (const [index, word] of [0, struct, access, 0].entries()) view.setUint32(index * 4, word, true)
  return {
    insns: Encode.ldx(BPF_W, 1, 2, 0),
    records: { recordSize: 16, records },
    local: Result.getOrThrow(editor.finish())
  }
}

/** The same types, of which nothing was looked up yet. */
const forgetful = (kernel: Btf.Btf): Btf.Btf => {
  const cache = Result.getOrThrow(Btf.parse(emptyBlob())).internal.cache
  return { ...kernel, internal: { ...kernel.internal, cache } }
}

/**
 * Applying CO-RE records against the running kernel's types, which are parsed already: `cold` also builds the index of the
 * kernel's names, `indexed` has it and decides every record, as for the next object of a process, `warm` has seen the
 * object before, as for its second program. libbpf offers no boundary around just that work, so those rows have no peer.
 *
 * What has one is all that is done to an object before the kernel is asked to take it: ours opens and relocates the
 * objects on the live kernel, whose types one process reads once; libbpf opens and loads them, less the time inside
 * bpf(2).
 */
export default async function(): Promise<ReadonlyArray<Case>> {
  if (!Fs.existsSync(vmlinux)) {
    process.stderr.write(`no BTF of the running kernel: ${vmlinux} is absent\n`)
    return []
  }
  const types = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux))))
  const objects = fixtures()
  const works = {
    "1996 fields of 499 structs": reading(types, 499),
    "4 fields of sk_buff": reading(types, 1, "sk_buff"),
    "1 field of sk_buff": oneField(),
    ...Object.fromEntries(objects.map(({ object }) => [object.name, programOf(object)]))
  }
  const kernel = await Effect.runPromise(Effect.provide(Effect.service(Kernel.Kernel), KernelLive.layer))
  const stages = Effect.forEach(
    objects,
    ({ bytes, path }) => Stage.pipeline(Open.open({ path }), Relocate.relocate).run(bytes),
    { discard: true }
  ).pipe(Effect.provideService(Kernel.Kernel, kernel))
  const together: Omit<Case, "name"> = {
    inputBytes: objects.reduce((sum, { bytes }) => sum + bytes.length, 0),
    ours: () => Effect.runPromise(stages)
  }
  const paths = objects.map(({ path }) => path)
  const name = `core: all ${objects.length} CO-RE fixtures opened and relocated, bpf(2) taken off`
  return [
    ...Object.entries(works).flatMap(([name, work]): ReadonlyArray<Case> => {
      const inputBytes = work.records.records.length
      const known = Core.target(types)
      return [
        { name: `core cold ${name}`, inputBytes, ours: () => run(work, Core.target(forgetful(types))) },
        { name: `core indexed ${name}`, inputBytes, ours: () => run(work, Core.target(types)) },
        { name: `core warm ${name}`, inputBytes, ours: () => run(work, known) }
      ]
    }),
    { ...together, name, ...libbpfPeer("own", paths, 30) },
    { ...together, name: `${name}, beside 1.5`, ...libbpfPeer("own", paths, 30, { version: "1.5" }) }
  ]
}
