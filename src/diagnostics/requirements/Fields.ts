/**
 * Members of map values that mean something to the kernel: locks, timers, lists, pointers to the kernel's objects.
 *
 * A map with such a member cannot be created without its types, whatever the kernel.
 */
import * as Btf from "../../btf/Btf.ts"
import { type Availability, since } from "./Release.ts"

/** A member that the kernel treats in a way of its own. */
export interface Field extends Availability {
  /** The struct's name, or that of the tag of a pointer. */
  readonly name: string
}

const structs: ReadonlyMap<string, string> = new Map([
  ["bpf_spin_lock", "5.1"],
  ["bpf_timer", "5.15"],
  ["bpf_list_head", "6.2"],
  ["bpf_list_node", "6.2"],
  ["bpf_rb_root", "6.3"],
  ["bpf_rb_node", "6.3"],
  ["bpf_refcount", "6.4"],
  ["bpf_wq", "6.10"],
  ["bpf_res_spin_lock", "6.15"],
  ["bpf_task_work", "6.18"]
])

const tags: ReadonlyMap<string, string> = new Map([
  ["kptr", "5.19"],
  ["kptr_ref", "5.19"],
  ["kptr_untrusted", "6.3"],
  ["percpu_kptr", "6.7"],
  ["uptr", "6.13"]
])

/** Types that are looked at for the members of one value. */
const VISITS = 4096

/** The members of a type that the kernel treats in a way of its own, each kind once. */
export const of = (btf: Btf.Btf, typeId: number): ReadonlyArray<Field> => {
  const found = new Map<string, Field>()
  const seen = new Set<number>()
  const open = [typeId]
  for (let id = open.pop(); id !== undefined && seen.size < VISITS; id = open.pop()) {
    if (seen.has(id)) continue
    seen.add(id)
    const type = Btf.typeOf(btf, id)
    switch (type._tag) {
      case "Struct":
      case "Union": {
        const release = structs.get(type.name)
        if (release !== undefined) found.set(type.name, { name: type.name, ...since(release) })
        for (const member of type.members) open.push(member.type)
        break
      }
      case "Array":
      case "Typedef":
      case "Const":
      case "Volatile":
        open.push(type.type)
        break
      case "Ptr": {
        // Pointers are not followed: only what lies in the value itself counts. Their tags say what they are.
        const target = Btf.typeOf(btf, type.type)
        const release = target._tag === "TypeTag" ? tags.get(target.name) : undefined
        if (target._tag === "TypeTag" && release !== undefined) {
          found.set(target.name, { name: target.name, ...since(release) })
        }
        break
      }
      default:
    }
  }
  return [...found.values()]
}
