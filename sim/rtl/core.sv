// One core of the virtual chip: four filters' sums over a window of 144 logical inputs, without a multiplier in sight.
//
// Why: the model in sim/timing counts cycles and sim/functional computes values; neither would notice that a datapath of
// this kind can't be built so. This is the datapath: it must give the model's bits in the model's cycles (core_test.cpp).
//
// Each of a filter's 36 physical inputs selects one of eight logical ones: four to which it is wired directly, four
// through a second wiring, so that every logical input reaches two of them (US 11809515; which weights go where is
// sim/timing/placement.h). A selected slot of 4 bits is negated or not and goes into a tree of adders; the sum is shifted
// by its slot (bits 4-7 of an activation come in a pass of their own, US 11531727) and by the power of two that the pass
// stands for, and added to the position's partial sum. After the last pass a partial sum is requantised exactly as
// numerics/scale.h says and looked up in a table. A slot goes in each cycle; its effect comes out 16 cycles later.
//
// Weights of the next pass are loaded, a filter a cycle, behind those of the current one and taken with `swap`.
module core #(
    parameter int FILTERS = 4,
    parameter int WINDOW = 144,
    parameter int ADDERS = 36,
    parameter int CHOICES = 8,
    parameter int SLOT = 4,
    parameter int PARTIAL = 20,
    parameter int POSITIONS = 256
) (
    input logic clk,
    input logic reset,
    // a slot of a window
    input logic valid,
    input logic swap,
    input logic first,
    input logic last,
    input logic [$clog2(POSITIONS)-1:0] position,
    input logic high_slot,
    input logic [WINDOW*SLOT-1:0] window,
    // weights of the next pass
    input logic load,
    input logic [$clog2(FILTERS)-1:0] load_filter,
    input logic [ADDERS-1:0] load_used,
    input logic [ADDERS-1:0] load_negative,
    input logic [ADDERS*3-1:0] load_choice,
    input logic [3:0] load_plane,
    // constants of filters: bias less the zero point's share, fixed-point factor (numerics::Multiplier)
    input logic configure,
    input logic [$clog2(FILTERS)-1:0] set_filter,
    input logic signed [31:0] set_bias,
    input logic [14:0] set_mantissa,
    input logic [5:0] set_shift,
    input logic [7:0] zero_point,
    input logic [7:0] low,
    input logic [7:0] high,
    // look-up table
    input logic table_set,
    input logic [7:0] table_at,
    input logic [7:0] table_value,
    // results of a position
    output logic out_valid,
    output logic [$clog2(POSITIONS)-1:0] out_position,
    output logic [FILTERS*8-1:0] out,
    // bits that toggled so far in: input registers, multiplexers and signs, adder trees, partial sums
    output logic [63:0] toggled_inputs,
    output logic [63:0] toggled_selected,
    output logic [63:0] toggled_trees,
    output logic [63:0] toggled_partial
);
  localparam int PER = CHOICES / 2;       // logical inputs of either wiring of a multiplexer
  localparam int TERM = SLOT + 1;         // a slot with its sign
  localparam int SUM = TERM + 6;          // of up to 64 terms
  localparam int ADDRESS = $clog2(POSITIONS);
  localparam int STAGES = 10;             // from the window's register to the partial sum

  // ---- weights: the current pass and the next ----
  logic [ADDERS-1:0] used[FILTERS], negative[FILTERS], next_used[FILTERS], next_negative[FILTERS];
  logic [ADDERS*3-1:0] choice[FILTERS], next_choice[FILTERS];
  logic [3:0] plane[FILTERS], next_plane[FILTERS];
  always_ff @(posedge clk) begin
    if (load) begin
      next_used[load_filter] <= load_used;
      next_negative[load_filter] <= load_negative;
      next_choice[load_filter] <= load_choice;
      next_plane[load_filter] <= load_plane;
    end
    if (valid && swap) begin
      for (int f = 0; f < FILTERS; f++) begin
        used[f] <= next_used[f];
        negative[f] <= next_negative[f];
        choice[f] <= next_choice[f];
        plane[f] <= next_plane[f];
      end
    end
  end

  // ---- what travels beside the data: stage 1 is the window's register ----
  logic [STAGES:1] valid_at, last_at;
  logic [STAGES-1:1] first_at;
  logic [ADDRESS-1:0] position_at[1:STAGES];
  logic high_slot_at_1;
  always_ff @(posedge clk) begin
    valid_at <= reset ? '0 : {valid_at[STAGES-1:1], valid};
    first_at <= {first_at[STAGES-2:1], first};
    last_at <= {last_at[STAGES-1:1], last};
    position_at[1] <= position;
    high_slot_at_1 <= high_slot;
    for (int s = 2; s <= STAGES; s++) position_at[s] <= position_at[s-1];
  end

  // ---- stage 1: inputs; all of a core's filters share them ----
  logic [WINDOW*SLOT-1:0] inputs;
  always_ff @(posedge clk) if (valid) inputs <= window;

  // ---- constants and table ----
  logic signed [31:0] bias[FILTERS];
  logic [14:0] mantissa[FILTERS];
  logic [5:0] factor_shift[FILTERS];
  logic [7:0] table_of[256];
  always_ff @(posedge clk) begin
    if (configure) begin
      bias[set_filter] <= set_bias;
      mantissa[set_filter] <= set_mantissa;
      factor_shift[set_filter] <= set_shift;
    end
    if (table_set) table_of[table_at] <= table_value;
  end

  // ---- what leaves: stages 11 to 16 ----
  logic [16:11] leaves;
  logic [ADDRESS-1:0] leaves_position[11:16];
  always_ff @(posedge clk) begin
    leaves <= reset ? '0 : {leaves[15:11], valid_at[STAGES] && last_at[STAGES]};
    leaves_position[11] <= position_at[STAGES];
    for (int s = 12; s <= 16; s++) leaves_position[s] <= leaves_position[s-1];
  end
  assign out_valid = leaves[16];
  assign out_position = leaves_position[16];

  logic [63:0] toggles_selected[FILTERS], toggles_trees[FILTERS], toggles_partial[FILTERS];

  for (genvar f = 0; f < FILTERS; f++) begin : filter
    // ---- stage 2: multiplexers and signs ----
    logic signed [TERM-1:0] selected[64], select_next[64];
    for (genvar m = 0; m < ADDERS; m++) begin : multiplexer
      logic [SLOT-1:0] wires[CHOICES];
      for (genvar k = 0; k < PER; k++) begin : wiring
        assign wires[k] = inputs[(k*ADDERS+m)*SLOT+:SLOT];
        assign wires[PER+k] = inputs[(((m+ADDERS-ADDERS/2)%ADDERS)*PER+k)*SLOT+:SLOT];
      end
      logic [SLOT-1:0] taken;
      assign taken = used[f][m] ? wires[choice[f][m*3+:3]] : '0;
      assign select_next[m] = negative[f][m] ? -$signed({1'b0, taken}) : $signed({1'b0, taken});
    end
    for (genvar m = ADDERS; m < 64; m++) begin : no_multiplexer
      assign select_next[m] = '0;
    end
    always_ff @(posedge clk) if (valid_at[1]) selected <= select_next;

    // ---- stages 3 to 8: the tree; a level halves the terms (places beyond 36 are constant and fall away) ----
    logic signed [SUM-1:0] level1[32], level2[16], level3[8], level4[4], level5[2], sum;
    always_ff @(posedge clk) begin
      for (int i = 0; i < 32; i++) level1[i] <= SUM'(selected[2*i]) + SUM'(selected[2*i+1]);
      for (int i = 0; i < 16; i++) level2[i] <= level1[2*i] + level1[2*i+1];
      for (int i = 0; i < 8; i++) level3[i] <= level2[2*i] + level2[2*i+1];
      for (int i = 0; i < 4; i++) level4[i] <= level3[2*i] + level3[2*i+1];
      for (int i = 0; i < 2; i++) level5[i] <= level4[2*i] + level4[2*i+1];
      sum <= level5[0] + level5[1];
    end

    // ---- stage 9: the slot's and the pass's powers of two; stage 10: partial sums ----
    logic [3:0] shift_at[2:8];
    always_ff @(posedge clk) begin
      shift_at[2] <= plane[f] + (high_slot_at_1 ? 4'(SLOT) : 4'd0);
      for (int s = 3; s <= 8; s++) shift_at[s] <= shift_at[s-1];
    end
    logic signed [PARTIAL-1:0] shifted, partial[POSITIONS], old_sum, new_sum, final_sum;
    always_ff @(posedge clk) shifted <= PARTIAL'(sum) <<< shift_at[8];
    assign old_sum = partial[position_at[9]];
    assign new_sum = (first_at[9] ? '0 : old_sum) + shifted;
    always_ff @(posedge clk) begin
      if (valid_at[9]) partial[position_at[9]] <= new_sum;
      final_sum <= new_sum;
    end

    // ---- stages 11 to 16: bias, factor, rounding, zero point and bounds, table, result ----
    logic signed [31:0] biased;
    logic signed [47:0] product, rounded;
    logic signed [33:0] moved;
    logic [7:0] bounded, looked_up, result;
    always_ff @(posedge clk) begin
      biased <= 32'(final_sum) + bias[f];
      product <= 48'(biased) * 48'($signed({1'b0, mantissa[f]}));
      rounded <= (product + (48'sd1 <<< (factor_shift[f] - 6'd1))) >>> factor_shift[f];
      bounded <= moved < 34'($signed({1'b0, low})) ? low : moved > 34'($signed({1'b0, high})) ? high : moved[7:0];
      looked_up <= table_of[bounded];
      result <= looked_up;
    end
    always_comb begin
      if (rounded > 48'sd2147483647) moved = 34'sd2147483647;
      else if (rounded < -48'sd2147483648) moved = -34'sd2147483648;
      else moved = rounded[33:0];
      moved = moved + 34'($signed({1'b0, zero_point}));
    end
    assign out[f*8+:8] = result;

    // ---- counters of toggles; no part of the datapath ----
    always_ff @(posedge clk) begin : counters
      logic [63:0] n_selected, n_trees;
      n_selected = 0;
      n_trees = 0;
      if (valid_at[1]) for (int m = 0; m < ADDERS; m++) n_selected += 64'($countones(selected[m] ^ select_next[m]));
      for (int i = 0; i < 32; i++) n_trees += 64'($countones(level1[i] ^ (SUM'(selected[2*i]) + SUM'(selected[2*i+1]))));
      for (int i = 0; i < 16; i++) n_trees += 64'($countones(level2[i] ^ (level1[2*i] + level1[2*i+1])));
      for (int i = 0; i < 8; i++) n_trees += 64'($countones(level3[i] ^ (level2[2*i] + level2[2*i+1])));
      for (int i = 0; i < 4; i++) n_trees += 64'($countones(level4[i] ^ (level3[2*i] + level3[2*i+1])));
      for (int i = 0; i < 2; i++) n_trees += 64'($countones(level5[i] ^ (level4[2*i] + level4[2*i+1])));
      n_trees += 64'($countones(sum ^ (level5[0] + level5[1])));
      toggles_selected[f] <= reset ? '0 : toggles_selected[f] + n_selected;
      toggles_trees[f] <= reset ? '0 : toggles_trees[f] + n_trees;
      toggles_partial[f] <= reset ? '0 : valid_at[9] ? toggles_partial[f] + 64'($countones(old_sum ^ new_sum)) : toggles_partial[f];
    end
  end

  logic [63:0] toggles_inputs;
  always_ff @(posedge clk) toggles_inputs <= reset ? '0 : valid ? toggles_inputs + 64'($countones(inputs ^ window)) : toggles_inputs;
  assign toggled_inputs = toggles_inputs;
  always_comb begin
    toggled_selected = 0;
    toggled_trees = 0;
    toggled_partial = 0;
    for (int f = 0; f < FILTERS; f++) begin
      toggled_selected += toggles_selected[f];
      toggled_trees += toggles_trees[f];
      toggled_partial += toggles_partial[f];
    end
  end
endmodule
