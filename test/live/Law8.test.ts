/** Law 8 on some dozens of inputs per program. */
import { law8 } from "../support/Law8Suite.ts"

law8(4)
