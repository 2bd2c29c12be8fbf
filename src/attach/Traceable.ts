/**
 * Which functions of the kernel can be traced together with others: those whose arguments a trampoline can pass on.
 *
 * Source: reference page `attach`, section 10.
 */
import * as Result from "effect/Result"
import * as Btf from "../btf/Btf.ts"

/** Arguments that a trampoline passes on at most. */
const maximumArguments = 12

/** Bytes of one argument at most. */
const largestArgument = 16

/** Qualifiers and typedefs around a type at most: types that go round in a ring have no end. */
const deepest = 32

/** A type behind its qualifiers and typedefs. */
const bare = (types: Btf.Btf, id: number): Btf.BtfType | undefined => {
  let next = id
  for (let depth = 0; depth < deepest; depth++) {
    if (next === 0) return undefined
    const type = Btf.typeOf(types, next)
    switch (type?._tag) {
      case "Const":
      case "Volatile":
      case "Restrict":
      case "Typedef":
      case "TypeTag":
        next = type.type
        break
      default:
        return type
    }
  }
  return undefined
}

const isComposite = (type: Btf.BtfType | undefined): boolean => type?._tag === "Struct" || type?._tag === "Union"

const sizeOf = (types: Btf.Btf, id: number): number => Result.getOrElse(Btf.resolveSize(types, id), () => 0)

/** Whether the function of this id can be traced together with others. */
export const isTraceable = (types: Btf.Btf, id: number): boolean => {
  const func = Btf.typeOf(types, id)
  const proto = func?._tag === "Func" ? Btf.typeOf(types, func.type) : undefined
  if (proto?._tag !== "FuncProto" || proto.params.length > maximumArguments) return false
  if (proto.returnType !== 0) {
    const returned = bare(types, proto.returnType)
    if (returned !== undefined && (isComposite(returned) || sizeOf(types, proto.returnType) === 0)) return false
  }
  return proto.params.every(({ type }) => {
    // Without a type: the dots of a variable number of arguments.
    if (type === 0) return false
    const size = sizeOf(types, type)
    return bare(types, type) !== undefined && size >= 1 && size <= largestArgument
  })
}
