/**
 * Memory of a map until a scope closes.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { MemoryView } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"

/** Maps a part of a map's memory, bytes; it is unmapped when the scope closes. */
export const mapped = (
  session: Session,
  map: MapRef,
  part: { readonly offset: number; readonly length: number; readonly writable: boolean }
): Effect.Effect<MemoryView, CallError, Scope.Scope> => {
  const as = session.fresh("View")
  return Effect.acquireRelease(
    session.call({ _tag: "MapMmap", map, as, ...part }),
    // The session may have closed before; then it has unmapped it.
    () => Effect.ignore(session.call({ _tag: "Close", ref: as }))
  )
}
