"""Section 3 and appendix A of the paper: the scheme of eq. 8, Theorems 3.1 and 3.2 with their slips corrected, oracles."""

from models.theory.bounds import bound, bound_by_induction, expand, recursion_step, roll_out
from models.theory.quadratic import MeanQuadratic
from models.theory.rates import Assumptions, Rate, contraction, contraction_printed
from models.theory.scheme import Scheme, project

__all__ = [
    "Assumptions",
    "MeanQuadratic",
    "Rate",
    "Scheme",
    "bound",
    "bound_by_induction",
    "contraction",
    "contraction_printed",
    "expand",
    "project",
    "recursion_step",
    "roll_out",
]
