/** Law 8 on a thousand inputs per program and more: 110 sequences of 1 to 20. */
import { law8 } from "../support/Law8Suite.ts"

law8(110)
