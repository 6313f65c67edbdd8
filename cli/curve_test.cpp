// The curve's two forms, and the refusal of others.
#include "cli/curve.h"

#include <gtest/gtest.h>

namespace pith::cli {
namespace {

Curve curve() { return {{{1000, 4, 0.01, 0.999, 30, 99}, {500, 8, 0.1, 0.99, 20, 95.5}}, {{1000, 4, 0.009, 0, 0, -1}, {700, 5.7, 0.03, 0, 0, -1}, {500, 8, 0.09, 0, 0, -1}}}; }

TEST(Curve, CsvHasARowForEachPoint) {
  EXPECT_EQ(curve_csv(curve()),
            "kind,bytes,ratio,loss,cosine,sqnr_db,same_answer\n"
            "measured,1000,4.000,0.01,0.999000,30.000,99.000\n"
            "measured,500,8.000,0.1,0.990000,20.000,95.500\n"
            "modelled,1000,4.000,0.009,,,\n"
            "modelled,700,5.700,0.03,,,\n"
            "modelled,500,8.000,0.09,,,\n");
}

TEST(Curve, SvgStandsAlone) {
  const std::string svg = curve_svg(curve());
  EXPECT_TRUE(svg.starts_with("<svg xmlns='http://www.w3.org/2000/svg'"));
  EXPECT_NE(svg.find("500 bytes, 8.00x, cosine 0.99000, 20.00 dB, same answer 95.50 %"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("href"), std::string::npos);
}

TEST(Curve, OtherEndingsAreRefused) {
  const auto written = write_curve(curve(), "curve.png");
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().message.find("neither .csv nor .svg"), std::string::npos);
}

}  // namespace
}  // namespace pith::cli
