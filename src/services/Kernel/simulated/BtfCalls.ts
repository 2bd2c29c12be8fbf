/**
 * Loading BTF: the blob must parse and be of the machine's byte order. The kernel's further rules (names that are
 * identifiers, functions with names for all parameters) are not checked.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Errno from "../abi/Errno.ts"
import { fromErrno } from "../KernelError.ts"
import type { Handlers } from "../Session.ts"
import type { Context } from "./Context.ts"
import { type BtfObject, type Handle, register } from "./Objects.ts"
import * as Refuse from "./Refuse.ts"

const subject = "the object's types"

/** `BTF_MAX_SIZE` of the kernel. */
const maximumSize = 16 * 1024 * 1024

/** The handler of `BtfLoad`. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "BtfLoad"> => ({
  BtfLoad: (call, bound) =>
    Refuse.once(bound, () => {
      if (call.bytes.length > maximumSize) return Result.fail(Refuse.refused("BtfLoad", subject, "E2BIG"))
      // A copy: the caller may change the bytes when the call is over.
      const parsed = Btf.parse(call.bytes.slice())
      if (Result.isFailure(parsed)) {
        return Result.fail(fromErrno("BtfLoad", subject, Errno.numbers.EINVAL, { log: parsed.failure.message }))
      }
      if (parsed.success.byteOrder !== "little") {
        return Result.fail(Refuse.invalid("BtfLoad", subject, "the blob is big-endian, and the machine is not"))
      }
      const btf: BtfObject = { _tag: "Btf", id: context.ids.Btf++, btf: parsed.success, references: 1, users: 1 }
      return Result.succeed({ result: undefined, handle: register(context.objects, btf) })
    })
})
