/**
 * The part of a loader that says which function of another program a program is for.
 *
 * A program of the same loader is there by then, and its function is known by the object's own types. One that is loaded
 * already is an input: its descriptor, and the id of the function in its types. (libbpf's loaders know neither.)
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import { isProgFunction, type ProgFunction, type ProgLoad } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { AssembleError } from "../AssembleError.ts"
import { declareWords } from "./AssembleInputs.ts"
import { type Assembly, descriptorToData } from "./Assembly.ts"
import * as LoaderCopies from "./LoaderCopies.ts"

const bad = (call: ProgLoad, detail: string): AssembleError =>
  new AssembleError({ reason: "BadRef", call: call._tag, name: call.attr.name, detail })

/** The id of the function in the types of the object. Throws `AssembleError`. */
const functionId = ({ btf }: Assembly, call: ProgLoad, { function: name }: ProgFunction): number => {
  const types = btf === undefined ? undefined : Result.getOrUndefined(Btf.parse(btf))
  const id = types === undefined ? undefined : Btf.findOne(types, name, Btf.BTF_KIND_FUNC)
  if (id !== undefined) return id
  throw bad(call, `it is for the function ${name} of another program of the object, whose types have none of this name`)
}

/** The id of the function that a program is for, where it is one of the object's own. Throws `AssembleError`. */
export const knownFunction = (assembly: Assembly, call: ProgLoad): number | undefined => {
  const { attachTo } = call
  return attachTo !== undefined && isProgFunction(attachTo) && assembly.slots.has(Ref.key(attachTo.program))
    ? functionId(assembly, call, attachTo)
    : undefined
}

/** Completes the `bpf_attr` at `attr` of a program that is for a function of another program. Throws `AssembleError`. */
export const takeProgram = (assembly: Assembly, call: ProgLoad, attr: number): void => {
  const { attachTo } = call
  if (attachTo === undefined || !isProgFunction(attachTo)) return
  const { fields } = Attr.ProgLoad
  const { function: name, program: target } = attachTo
  if (assembly.slots.has(Ref.key(target))) {
    return descriptorToData(assembly, call, target, attr + fields.attach_prog_fd.offset)
  }
  // Whoever runs the loader has every program that the loader does not load.
  if (assembly.programs.some(({ ref }) => ref === target.index)) {
    throw bad(call, `${Ref.key(target)}, whose function it is for, is closed by then`)
  }
  const program = assembly.numbers.programs.get(call.as.index)
  if (program === undefined) {
    throw bad(call, "it is for a program that its caller has, and the context does not speak of it")
  }
  const from = declareWords(assembly, { _tag: "Program", program, function: name, contextOffset: 0 })
  LoaderCopies.takeWord(assembly.code, attr + fields.attach_prog_fd.offset, from, true)
  LoaderCopies.takeWord(assembly.code, attr + fields.attach_btf_id.offset, from + 4, true)
}
