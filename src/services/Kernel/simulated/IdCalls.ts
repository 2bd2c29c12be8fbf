/**
 * Objects by identifier: which there are, and what BTF objects are. Links there are none.
 */
import * as Result from "effect/Result"
import { encode } from "../../../btf/BtfEncode.ts"
import { RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import { type Handle, hold, type KernelObject } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

/** The objects of a kind by identifier. */
const objectsOf = (context: Context, kind: Ref.RefTag): ReadonlyMap<number, KernelObject> =>
  kind === "Map" || kind === "Prog" || kind === "Btf" ? context.objects[kind] : new Map()

/** The handlers of the calls on identifiers. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "IdNext" | "GetById" | "BtfGetInfo"> => ({
  IdNext: (call, bound) =>
    Refuse.once(bound, () => {
      let next: number | undefined
      for (const id of objectsOf(context, call.kind).keys()) {
        if (id > call.after && (next === undefined || id < next)) next = id
      }
      return Result.succeed({ result: next })
    }),

  GetById: (call, bound) =>
    Refuse.once(bound, () => {
      const object = objectsOf(context, call.as._tag).get(call.id)
      if (object === undefined) {
        return Result.fail(Refuse.refused("GetById", `${call.as._tag.toLowerCase()} ${call.id}`, "ENOENT"))
      }
      if (object._tag !== call.as._tag) {
        return Result.fail(new RefError({ call: "GetById", ref: Ref.key(call.as), reason: "WrongKind" }))
      }
      hold(object, "user")
      return Result.succeed({ result: undefined, handle: object })
    }),

  BtfGetInfo: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(Refuse.handleOf(bound, "BtfGetInfo", call.btf), ({ btf, id }) => {
        const bytes = encode(btf)
        return {
          result: {
            id,
            name: "",
            isKernels: false,
            size: bytes.length,
            ...(call.bytes === true ? { bytes } : {})
          }
        }
      }))
})
