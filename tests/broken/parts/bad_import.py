"""Import what there is not."""

import a_package_that_nobody_has
