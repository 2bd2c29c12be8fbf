/**
 * What programs are called with, as the object's types say it.
 */
import * as Btf from "../../btf/Btf.ts"
import type { BpfObject } from "./BpfObject.ts"

/** The struct that a program's argument points to, in the object's BTF; `undefined` where it points to none. */
export const argumentType = ({ btf }: Pick<BpfObject, "btf">, program: string): number | undefined => {
  const id = btf === undefined ? undefined : Btf.findOne(btf, program, Btf.BTF_KIND_FUNC)
  if (btf === undefined || id === undefined) return undefined
  const func = Btf.typeOf(btf, id)
  const proto = func._tag === "Func" ? Btf.typeOf(btf, func.type) : undefined
  const first = proto?._tag === "FuncProto" ? proto.params[0] : undefined
  if (first === undefined) return undefined
  const pointer = Btf.skipModifiersAndTypedefs(btf, first.type)
  if (Btf.kindOf(btf, pointer) !== Btf.BTF_KIND_PTR) return undefined
  const pointee = Btf.skipModifiersAndTypedefs(btf, Btf.sizeOrTypeOf(btf, pointer))
  return Btf.kindOf(btf, pointee) === Btf.BTF_KIND_STRUCT ? pointee : undefined
}
